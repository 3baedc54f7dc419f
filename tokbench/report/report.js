// The page's script is made of several files in one block; this one comes first. The page works without it, except for
// pictures, tooltips and the theme button. Text comes written out from Python and goes into the page as text only, never
// as markup.

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

setUpTheme();
setUpCopying();
data.charts.forEach(setUpChart);
