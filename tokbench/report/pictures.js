// Pictures, their differences, and the settings that all of them share.

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
change("boxes", false);
