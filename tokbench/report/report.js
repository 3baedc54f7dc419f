"use strict";
// The page works without this script, except for pictures, tooltips and the theme button. Text comes written out from
// Python and goes into the page as text only, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const SVG = "http://www.w3.org/2000/svg";

  function make(name, properties = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in node) node[key] = value;
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  // Long ids may be broken after a slash or underscore.
  function breakable(text) {
    return text.split(/(?<=[/_])/).flatMap((part, index) => (index ? [make("wbr"), part] : [part]));
  }

  function drawn(name, attributes) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  // Theme.

  function setUpTheme() {
    const button = document.getElementById("theme");
    const themes = ["system", "light", "dark"];
    const store = (() => {
      try { return window.localStorage; } catch { return null; }  // some browsers refuse storage to local files
    })();
    let theme = store?.getItem("tokbench-theme");
    if (!themes.includes(theme)) theme = "system";
    const show = () => {
      if (theme === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
      button.lastElementChild.textContent = theme;
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try { store?.setItem("tokbench-theme", theme); } catch { /* then it lasts as long as the page */ }
      show();
    });
    show();
  }

  // Copying.

  function setUpCopying() {
    for (const button of document.querySelectorAll(".copy")) {
      const label = button.textContent;
      button.hidden = false;
      button.addEventListener("click", async () => {
        const code = button.parentElement.querySelector("code");
        try {
          await navigator.clipboard.writeText(code.textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(code);
          button.textContent = "Selected: press Ctrl+C";
        }
        setTimeout(() => { button.textContent = label; }, 2500);
      });
    }
  }

  // Charts: name the sample nearest to the pointer.

  function setUpChart({ chart, rows }) {
    const svg = document.getElementById(chart);
    const tip = document.getElementById("tip");
    const mark = svg.appendChild(drawn("line", { class: "mark", visibility: "hidden" }));
    const hide = () => {
      tip.hidden = true;
      mark.setAttribute("visibility", "hidden");
    };
    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const row = rows.find(({ top, bottom }) => at.y >= top && at.y < bottom);
      if (!row) return hide();
      const [x, value, names] = row.places.reduce((a, b) => (Math.abs(b[0] - at.x) < Math.abs(a[0] - at.x) ? b : a));
      if (Math.abs(x - at.x) > 12) return hide();
      for (const [key, place] of Object.entries({ x1: x, x2: x, y1: row.bottom - 20, y2: row.bottom })) mark.setAttribute(key, place);
      mark.setAttribute("visibility", "visible");
      tip.replaceChildren(make("strong", { textContent: value }), ...names.map((name) => make("span", { textContent: name })));
      tip.hidden = false;
      const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
      const top = event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18;
      tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
    });
    svg.addEventListener("pointerleave", hide);
  }

  // Pictures.

  const loaded = new Map();  // picture number → promise of a decoded image
  function load(number) {
    if (!loaded.has(number)) {
      const image = new Image();
      image.src = data.images[number];
      loaded.set(number, image.decode().then(() => image));
    }
    return loaded.get(number);
  }

  function pixels(image, width, height) {
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }

  // Absolute difference of each channel, times `factor`.
  async function drawDifference(canvas, cell, factor) {
    canvas.dataset.factor = factor;
    const [reference, image] = await Promise.all([load(cell.reference), load(cell.image)]);
    if (canvas.dataset.factor !== String(factor)) return;  // the slider has moved on
    const { naturalWidth: width, naturalHeight: height } = reference;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const a = pixels(reference, width, height), b = pixels(image, width, height);
    const out = new ImageData(width, height);
    for (let i = 0; i < a.length; i += 4) {
      for (let k = 0; k < 3; k++) out.data[i + k] = Math.abs(a[i + k] - b[i + k]) * factor;
      out.data[i + 3] = 255;
    }
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(out, 0, 0);
    canvas.dataset.ready = factor;
  }

  // Boxes around the regions; those the metric measures stand out.
  function overlay(sample, cell, metric) {
    const svg = drawn("svg", { class: "overlay", viewBox: `0 0 ${sample.size[0]} ${sample.size[1]}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const region of cell.regions) {
      const [x0, y0, x1, y1] = region.box;
      const box = { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
      svg.append(drawn("rect", { ...box, class: "under" }), drawn("rect", { ...box, class: metric < 0 || region.values[metric] ? "" : "other" }));
    }
    return svg;
  }

  const settings = { factor: 4, boxes: false, listeners: new Set() };
  function change(name, value) {
    settings[name] = value;
    for (const input of document.querySelectorAll(".factor")) input.value = settings.factor;
    for (const text of document.querySelectorAll(".factor-text")) text.textContent = `×${settings.factor}`;
    for (const input of document.querySelectorAll(".boxes")) input.checked = settings.boxes;
    document.documentElement.classList.toggle("hide-boxes", !settings.boxes);
    for (const listener of settings.listeners) listener(name);
  }
  document.addEventListener("input", ({ target }) => {
    if (target.matches(".factor")) change("factor", Number(target.value));
    if (target.matches(".boxes")) change("boxes", target.checked);
  });

  function setUpGallery(root, number) {
    const section = data.sections[number];
    const state = { metric: 0, run: 0 };
    const tabs = make("div", { className: "tabs", role: "tablist", ariaLabel: "Metric" });
    const panel = make("div", { role: "tabpanel", id: `gallery-${number}`, tabIndex: 0 });
    const ranked = make("select", {}, ...section.runs.map((run, value) => make("option", { value, textContent: run })));
    const hasRegions = section.samples.some((sample) => sample.size && sample.cells.some((cell) => cell?.regions.length));
    const controls = make("div", { className: "controls" },
      make("label", {}, "Difference", make("input", { type: "range", className: "factor", min: 1, max: 16, step: 1, value: 4 }), make("output", { className: "factor-text", textContent: "×4" })));
    if (hasRegions) controls.append(make("label", {}, make("input", { type: "checkbox", className: "boxes" }), "Show regions"));
    if (section.runs.length > 1) controls.prepend(make("label", {}, "Ranked by", ranked));
    let differences = [];

    function figure(sample, column, picks, place) {
      const cell = sample.cells[column], single = section.columns.length === 1;
      const name = section.columns[column];
      if (!cell) return [make("figure", {}, make("figcaption", { textContent: `${name}: no picture was kept` }))];
      const open = () => lightbox.open({ section, picks, place, metric: state.metric, column });
      const image = make("img", { src: data.images[cell.image], alt: `${name} of ${sample.id}` });
      const canvas = make("canvas", { role: "img", ariaLabel: `Difference between reference and ${name} of ${sample.id}` });
      differences.push([canvas, cell]);
      const shown = make("button", { type: "button", className: "picture", onclick: open }, image);
      const difference = make("button", { type: "button", className: "picture", onclick: open }, canvas);
      if (sample.size) for (const button of [shown, difference]) button.append(overlay(sample, cell, state.metric));
      const value = cell.values[state.metric];
      if (single) return [make("figure", {}, shown, make("figcaption", { textContent: name })), make("figure", {}, difference, make("figcaption", {}, "Difference ", make("output", { className: "factor-text", textContent: `×${settings.factor}` })))];
      return [make("figure", {}, shown, difference, make("figcaption", {}, make("b", { textContent: value || "no value" }), make("br"), name))];
    }

    function row(picks, place) {
      const [number, , rank] = picks[place];
      const sample = section.samples[number];
      const first = sample.cells.findIndex(Boolean);
      const reference = make("button", { type: "button", className: "picture", onclick: () => lightbox.open({ section, picks, place, metric: state.metric, column: first }) },
        make("img", { src: data.images[sample.cells[first].reference], alt: `Reference of ${sample.id}` }));
      if (sample.size) reference.append(overlay(sample, sample.cells[first], state.metric));
      const value = section.columns.length === 1 ? sample.cells[first].values[state.metric] : "";
      const meta = make("div", { className: "meta" }, make("strong", {}, make("bdi", {}, ...breakable(sample.id))));
      if (value) meta.append(make("span", { className: "value", textContent: value }));
      meta.append(rank);
      const strip = make("div", { className: `strip ${{ 1: "three", 2: "three", 3: "four" }[section.columns.length] ?? ""}${section.columns.length > 1 ? " stacked" : ""}` },
        make("figure", {}, reference, make("figcaption", { textContent: "Reference" })),
        ...section.columns.flatMap((_, column) => figure(sample, column, picks, place)));
      return make("article", { className: "sample", ariaLabel: sample.id }, meta, strip);
    }

    function draw() {
      for (const [canvas, cell] of differences) drawDifference(canvas, cell, settings.factor);
    }

    function show() {
      const metric = section.metrics[state.metric], picks = metric.lists[state.run];
      [...tabs.children].forEach((tab, index) => {
        tab.ariaSelected = String(index === state.metric);
        tab.tabIndex = index === state.metric ? 0 : -1;
      });
      panel.setAttribute("aria-labelledby", tabs.children[state.metric].id);
      differences = [];
      const parts = [];
      if (metric.note) parts.push(make("p", { className: "caption", textContent: `A sample's value is the ${metric.note}.` }));
      picks.forEach(([, place], index) => {
        if (!index || picks[index - 1][1] !== place) parts.push(make("h4", { className: "place", textContent: place }));
        parts.push(row(picks, index));
      });
      if (!picks.length) parts.push(make("p", { className: "lede", textContent: "No picture for this metric." }));
      if (metric.left_out) parts.push(make("p", { className: "caption", textContent: `${metric.left_out} more were left out to keep this file small; they are in the run's folder.` }));
      panel.replaceChildren(...parts);
      draw();
    }

    function select(index) {
      state.metric = (index + section.metrics.length) % section.metrics.length;
      show();
    }

    section.metrics.forEach((metric, index) => {
      tabs.append(make("button", { type: "button", role: "tab", id: `tab-${number}-${index}`, "aria-controls": panel.id, title: metric.key, textContent: metric.title, onclick: () => select(index) }));
    });
    tabs.addEventListener("keydown", ({ key }) => {
      const to = { ArrowRight: state.metric + 1, ArrowLeft: state.metric - 1, Home: 0, End: section.metrics.length - 1 }[key];
      if (to === undefined) return;
      select(to);
      tabs.children[state.metric].focus();
    });
    ranked.addEventListener("change", () => { state.run = Number(ranked.value); show(); });
    settings.listeners.add((name) => { if (name === "factor") draw(); });
    root.append(tabs, controls, panel);
    select(0);
  }

  // Lightbox: one zoom and position for all panes.

  const lightbox = (() => {
    const dialog = document.getElementById("lightbox");
    const find = (selector) => dialog.querySelector(selector);
    const stage = find(".stage"), wipe = find("#wipe"), choice = find("#lightbox-column");
    let at = null, mode = "side", size = [1, 1], view = { scale: 1, x: 0, y: 0 }, contents = [], drawing = null;

    function pane(name, ...layers) {
      const label = make("span", { className: "pane-name", textContent: name });
      return make("div", { className: "pane" }, label, ...layers);
    }

    function content(node, sample, cell) {
      const box = make("div", { className: "content" }, node);
      if (sample.size) box.append(overlay(sample, cell, -1));
      Object.assign(box.style, { width: `${size[0]}px`, height: `${size[1]}px` });
      contents.push(box);
      return box;
    }

    async function show() {
      const [number, place, rank] = at.picks[at.place];
      const sample = at.section.samples[number], metric = at.section.metrics[at.metric];
      if (!sample.cells[at.column]) at.column = sample.cells.findIndex(Boolean);
      const cell = sample.cells[at.column], name = at.section.columns[at.column];
      find("#lightbox-title").textContent = sample.id;
      find("#lightbox-note").textContent = [place, `${metric.title} ${cell.values[at.metric] || "has no value"}`, rank].join(" · ");
      choice.replaceChildren(...at.section.columns.map((text, value) => make("option", { value, textContent: text, disabled: !sample.cells[value], selected: value === at.column })));
      find(".column-choice").hidden = at.section.columns.length === 1;
      find(".wipe-tool").hidden = mode !== "wipe";
      find(".difference-tool").hidden = mode === "wipe";
      for (const button of dialog.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
      find("[data-do=previous]").disabled = at.place === 0;
      find("[data-do=next]").disabled = at.place === at.picks.length - 1;
      const mine = (drawing = {});
      const reference = await load(cell.reference);
      if (mine !== drawing) return;
      size = [reference.naturalWidth, reference.naturalHeight];
      contents = [];
      const picture = (index, alt) => content(make("img", { src: data.images[index], alt, draggable: false }), sample, cell);
      const before = picture(cell.reference, "Reference"), after = picture(cell.image, name);
      if (mode === "side") {
        const canvas = make("canvas", { role: "img", ariaLabel: "Difference" });
        drawDifference(canvas, cell, settings.factor);
        at.difference = [canvas, cell];
        stage.replaceChildren(pane("Reference", before), pane(name, after), pane("Difference", content(canvas, sample, cell)));
      } else {
        at.difference = null;
        const top = make("div", { className: "layer" }, before), handle = make("div", { className: "wipe-handle" });
        const only = pane("Reference", make("div", { className: "layer" }, after), top, handle);
        only.append(make("span", { className: "pane-name right", textContent: name }));
        stage.replaceChildren(only);
        moveWipe();
      }
      listRegions(at.section, cell);
      fit();
    }

    function listRegions(section, cell) {
      find(".region-list").replaceChildren(...cell.regions.map((region) => {
        const values = region.values.map((value, index) => value && `${section.metrics[index].title} ${value}`).filter(Boolean);
        return make("span", {}, make("b", {}, make("bdi", { textContent: region.name })), ` ${[region.group, ...values].filter(Boolean).join(" · ")}`);
      }));
      find(".tools .check").hidden = !cell.regions.length;
    }

    function place() {
      for (const box of contents) {
        box.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
        box.classList.toggle("pixelated", view.scale >= 2);
      }
      find("#lightbox-zoom").textContent = `${Math.round(view.scale * 100)} %`;
    }

    function fit() {
      const area = stage.firstElementChild?.getBoundingClientRect();
      if (!area) return;
      const scale = Math.min(area.width / size[0], area.height / size[1]);
      view = { scale, x: (area.width - size[0] * scale) / 2, y: (area.height - size[1] * scale) / 2 };
      place();
    }

    // Zoom so that what is at (x, y) in a pane stays there.
    function zoom(factor, x, y) {
      const area = stage.firstElementChild.getBoundingClientRect();
      x ??= area.width / 2;
      y ??= area.height / 2;
      const scale = Math.min(64, Math.max(0.05, view.scale * factor));
      const change = scale / view.scale;
      view = { scale, x: x - (x - view.x) * change, y: y - (y - view.y) * change };
      place();
    }

    function pan(dx, dy) {
      view.x += dx;
      view.y += dy;
      place();
    }

    function moveWipe() {
      const top = stage.querySelector(".layer + .layer"), handle = stage.querySelector(".wipe-handle");
      if (!top) return;
      top.style.clipPath = `inset(0 ${100 - wipe.value}% 0 0)`;
      handle.style.left = `${wipe.value}%`;
    }

    function step(by) {
      const to = at.place + by;
      if (to < 0 || to >= at.picks.length) return;
      at.place = to;
      show();
    }

    const pointers = new Map();
    let wiping = false;
    stage.addEventListener("pointerdown", (event) => {
      const area = event.target.closest(".pane");
      if (!area) return;
      wiping = event.target.matches(".wipe-handle");
      area.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
    });
    stage.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const area = event.target.closest(".pane").getBoundingClientRect();
      if (wiping) {
        wipe.value = ((event.clientX - area.left) / area.width) * 100;
        moveWipe();
      } else if (pointers.size === 2) {
        const other = [...pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
        const reach = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
        zoom(reach(event) / reach(last), (event.clientX + other.clientX) / 2 - area.left, (event.clientY + other.clientY) / 2 - area.top);
      } else {
        pan(event.clientX - last.clientX, event.clientY - last.clientY);
      }
      pointers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, ({ pointerId }) => { pointers.delete(pointerId); wiping = false; });
    stage.addEventListener("wheel", (event) => {
      const area = event.target.closest(".pane")?.getBoundingClientRect();
      event.preventDefault();
      if (area) zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - area.left, event.clientY - area.top);
    }, { passive: false });
    stage.addEventListener("dblclick", fit);

    const actions = { close: () => dialog.close(), previous: () => step(-1), next: () => step(1), in: () => zoom(1.5), out: () => zoom(1 / 1.5), fit };
    dialog.addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (button?.dataset.do) actions[button.dataset.do]();
      if (button?.dataset.mode) { mode = button.dataset.mode; show(); }
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = { ArrowLeft: "previous", ArrowRight: "next", "+": "in", "=": "in", "-": "out", 0: "fit" };
      const by = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
      if (by && (event.shiftKey || !keys[event.key])) pan(...by);
      else if (keys[event.key]) actions[keys[event.key]]();
      else return;
      event.preventDefault();
    });
    wipe.addEventListener("input", moveWipe);
    choice.addEventListener("change", () => { at.column = Number(choice.value); show(); });
    addEventListener("resize", () => { if (dialog.open) fit(); });
    settings.listeners.add((name) => { if (name === "factor" && at?.difference) drawDifference(...at.difference, settings.factor); });

    return {
      open(what) {
        at = { ...what };
        if (!dialog.open) dialog.showModal();
        stage.focus();
        show();
      },
    };
  })();

  setUpTheme();
  setUpCopying();
  data.charts.forEach(setUpChart);
  change("boxes", false);
  for (const root of document.querySelectorAll(".gallery")) setUpGallery(root, Number(root.dataset.section));
})();
