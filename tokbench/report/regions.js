// Words and faces: crops into their places, recognisers as tabs, and the lightbox at the place a crop is from.

const firstCrop = data.images.length;  // crops are numbered after the pictures
data.images.push(...data.crops);

// What the lightbox shows of an item: the whole picture where it is embedded, with the place marked, else the crop.
function regionSample(section, item) {
  const title = item.title ? `“${item.title}” in ${item.id}` : item.id;
  const whole = item.sample === null ? null : section.samples[item.sample];
  const cells = section.plain.map((column, run) => {
    const note = item.notes[run], cell = whole?.cells[column];
    if (cell) return { ...cell, note, focus: item.box };
    if (whole || item.crops[run + 1] === null) return null;
    return { reference: firstCrop + item.crops[0], image: firstCrop + item.crops[run + 1], values: [], regions: [], note: `${note} · cut out` };
  });
  return { id: item.id, title, size: whole ? whole.size : null, cells };
}

function setUpRegions(root) {
  const section = data.sections[Number(root.dataset.section)];
  for (const image of root.querySelectorAll("img[data-crop]")) image.src = data.images[firstCrop + Number(image.dataset.crop)];

  // A list's items are stepped through in the lightbox; those without any picture cannot be opened.
  for (const list of root.querySelectorAll(".regions")) {
    const items = [...list.children].map((node) => section.items[Number(node.dataset.item)]);
    const samples = items.map((item) => regionSample(section, item));
    const open = samples.flatMap((sample, number) => (sample.cells.some(Boolean) ? [number] : []));
    const picks = open.map((number, place) => [number, list.dataset.name, `${place + 1} of ${open.length} shown`]);
    const columns = section.plain.length === 1 ? ["Reconstruction"] : section.runs;
    [...list.children].forEach((node, number) => {
      const place = open.indexOf(number);
      for (const button of node.querySelectorAll("button")) {
        button.disabled = place < 0;
        button.addEventListener("click", () => lightbox.open({ section: { columns, samples, metrics: section.metrics }, picks, place, metric: 0, column: Math.max(0, Number(button.dataset.run ?? 0)) }));
      }
    });
  }
  for (const part of root.querySelectorAll(".panels")) setUpPanels(part);
}

// One panel at a time, chosen by tabs; without this script all of them follow each other.
function setUpPanels(part) {
  const panels = [...part.children];
  if (panels.length < 2) return;
  const tabs = make("div", { className: "tabs", role: "tablist", ariaLabel: part.dataset.name });
  function select(index, isFocused) {
    const chosen = (index + panels.length) % panels.length;
    panels.forEach((panel, number) => {
      panel.hidden = number !== chosen;
      tabs.children[number].ariaSelected = String(number === chosen);
      tabs.children[number].tabIndex = number === chosen ? 0 : -1;
    });
    if (isFocused) tabs.children[chosen].focus();
  }
  panels.forEach((panel, index) => {
    const id = `${panel.id}-tab`;
    tabs.append(make("button", { type: "button", role: "tab", id, "aria-controls": panel.id, textContent: panel.dataset.name, onclick: () => select(index) }));
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
  });
  tabs.addEventListener("keydown", ({ key, target }) => {
    const at = [...tabs.children].indexOf(target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: panels.length - 1 }[key];
    if (to !== undefined) select(to, true);
  });
  part.prepend(tabs);
  select(0);
}

for (const root of document.querySelectorAll(".words-and-faces")) setUpRegions(root);
