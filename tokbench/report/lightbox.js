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

  // A frame around the word or face that was asked for, shown whether or not regions are.
  function focusMark([x0, y0, x1, y1]) {
    const svg = drawn("svg", { class: "focus-mark", viewBox: `0 0 ${size[0]} ${size[1]}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const frame = { x: x0 - 1, y: y0 - 1, width: x1 - x0 + 2, height: y1 - y0 + 2 };
    svg.append(drawn("rect", { ...frame, class: "under" }), drawn("rect", frame));
    return svg;
  }

  function content(node, sample, cell) {
    const box = make("div", { className: "content" }, node);
    if (sample.size) box.append(overlay(sample, cell, -1));
    if (cell.focus) box.append(focusMark(cell.focus));
    Object.assign(box.style, { width: `${size[0]}px`, height: `${size[1]}px` });
    contents.push(box);
    return box;
  }

  async function show() {
    const [number, place, rank] = at.picks[at.place];
    const sample = at.section.samples[number];
    if (!sample.cells[at.column]) at.column = sample.cells.findIndex(Boolean);
    const cell = sample.cells[at.column], name = at.section.columns[at.column];
    const note = cell.note ?? `${at.section.metrics[at.metric].title} ${cell.values[at.metric] || "has no value"}`;
    find("#lightbox-title").textContent = sample.title ?? sample.id;
    find("#lightbox-note").textContent = [place, note, rank].join(" · ");
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
    if (cell.focus) look(cell.focus);
    else fit();
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
      box.style.setProperty("--zoom", view.scale);
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

  // Zoom to a box with some of what is around it.
  function look([x0, y0, x1, y1]) {
    const area = stage.firstElementChild?.getBoundingClientRect();
    if (!area) return;
    const scale = Math.min(12, area.width / (x1 - x0) / 1.8, area.height / (y1 - y0) / 1.8);
    view = { scale, x: area.width / 2 - ((x0 + x1) / 2) * scale, y: area.height / 2 - ((y0 + y1) / 2) * scale };
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
