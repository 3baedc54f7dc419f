// The gallery: the worst, median and best samples by metric.

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

for (const root of document.querySelectorAll(".gallery")) setUpGallery(root, Number(root.dataset.section));
