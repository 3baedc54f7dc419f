// Two submissions side by side. What is shown comes from data/<board>.js, one script a board, loaded when it is chosen:
// pages opened as files may load scripts, but not JSON. Text goes into the page as text only, never as markup.
"use strict";
{
  const { tasks } = JSON.parse(document.getElementById("index").textContent);
  const form = document.getElementById("choice");
  const find = (id) => document.getElementById(id);
  const field = (name) => form.elements.namedItem(name);
  const state = { task: "", a: "", b: "", sample: "", left: "", right: "" };

  function make(name, properties = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in node) node[key] = value;
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  const loading = new Map();
  function load(slug) {
    if (!loading.has(slug)) {
      loading.set(slug, new Promise((done, failed) => {
        const script = make("script", { src: `data/${encodeURIComponent(slug)}.js` });
        script.addEventListener("load", () => done(globalThis.tokbench[slug]));
        script.addEventListener("error", () => failed(new Error(`data/${slug}.js is missing`)));
        document.head.append(script);
      }));
    }
    return loading.get(slug);
  }

  function fill(select, options, chosen) {
    select.replaceChildren(...options.map(([value, textContent]) => make("option", { value, textContent, selected: value === chosen })));
  }

  // ---- numbers

  const minus = (text) => text.replace("-", "−");
  function signed(value, decimals) {
    const text = Math.abs(value).toFixed(decimals);
    return Number(text) === 0 ? text : minus(value < 0 ? `-${text}` : `+${text}`);
  }

  // What is known of b - a where they were compared pair by pair: half of its interval, and a letter (see side_by_side.py).
  function pair(found, a, b) {
    if (!found) return null;
    const i = found.places.indexOf(a), j = found.places.indexOf(b);
    if (i < 0 || j < 0 || i === j) return null;
    const [low, high] = i < j ? [i, j] : [j, i];
    const n = found.places.length, at = low * n - (low * (low + 1)) / 2 + (high - low - 1);
    const letter = found.verdicts[at], is_paired = letter === letter.toLowerCase();
    const swapped = { b: "w", w: "b" };
    const plain = letter.toLowerCase();
    return { half: found.halves[at], letter: i < j ? plain : (swapped[plain] ?? plain), is_paired };
  }

  const WORDS = { b: "better", w: "worse", n: "no evidence of a difference", d: "differs", "?": "cannot be told" };

  function verdict(metric, one, other, known) {
    if (metric.is_cost) return ["its machine's own", ""];
    if (known) return [WORDS[known.letter], { b: "good", w: "bad" }[known.letter] ?? ""];
    if (one[0] === other[0] && one[3] === other[3] && one[4] === other[4]) return ["equal", ""];
    if (one[3] === null || other[3] === null) return ["no interval", ""];
    const is_apart = one[4] < other[3] || other[4] < one[3];
    if (!is_apart) return ["intervals overlap", ""];
    if (metric.better === "neither") return ["intervals apart", ""];
    const is_better = (other[0] > one[0]) === (metric.better === "higher");
    return [is_better ? "better, intervals apart" : "worse, intervals apart", is_better ? "good" : "bad"];
  }

  function cell(value) {
    if (value.length === 1) return make("td", { className: "number" }, make("abbr", { className: "absent", title: value[0], textContent: "–" }), make("span", { className: "visually-hidden", textContent: `: ${value[0]}` }));
    const td = make("td", { className: "number" }, make("span", { className: "value", textContent: value[1] }));
    if (value[2] && value[3] !== value[4]) td.append(make("span", { className: "interval", textContent: value[2] }));
    return td;
  }

  function difference(one, other, known) {
    const td = make("td", { className: "number" });
    if (one.length === 1 || other.length === 1) return td;
    const factor = one[5], unit = one[7];
    let decimals = Math.max(one[6], other[6]);
    const by = (other[0] - one[0]) * factor;
    if (known?.half > 0) decimals = Math.min(7, Math.max(decimals, -Math.floor(Math.log10(2 * known.half * factor))));
    td.append(make("span", { className: "value", textContent: `${signed(by, decimals)} ${unit}`.trim() }));
    if (known?.half > 0) {
      const half = known.half * factor;
      td.append(make("span", { className: "interval", textContent: `${signed(by - half, decimals)} to ${signed(by + half, decimals)}` }));
      if (!known.is_paired) td.append(make("span", { className: "interval", textContent: "not paired" }));
    }
    return td;
  }

  function showNumbers(data, a, b) {
    const body = document.querySelector(".versus tbody");
    const heads = document.querySelectorAll(".versus thead th");
    heads[1].replaceChildren(make("span", { className: "swatch run-0" }), make("bdi", { textContent: data.entries[a].name }));
    heads[2].replaceChildren(make("span", { className: "swatch run-1" }), make("bdi", { textContent: data.entries[b].name }));
    const rows = [];
    let group = null;
    data.metrics.forEach((metric, index) => {
      const one = data.entries[a].values[index], other = data.entries[b].values[index];
      if (one.length === 1 && other.length === 1) return;
      if (metric.group !== group) {
        group = metric.group;
        rows.push(make("tr", { className: "heading" }, make("th", { scope: "rowgroup", colSpan: 5, textContent: group })));
      }
      const known = pair(data.pairs[index], a, b);
      const [words, tone] = one.length === 1 || other.length === 1 ? ["not compared", ""] : verdict(metric, one, other, known);
      const name = make("th", { scope: "row" }, make("bdi", { textContent: metric.title }));
      if (metric.arrow) name.append(make("span", { className: "arrow", title: metric.direction, role: "img", ariaLabel: metric.direction, textContent: metric.arrow }));
      name.append(make("code", { className: "key", textContent: metric.key }));
      rows.push(make("tr", {}, name, cell(one), cell(other), difference(one, other, known), make("td", { className: `verdict ${tone}`, textContent: words })));
    });
    body.replaceChildren(...rows);
    find("numbers").hidden = false;
  }

  // ---- pictures

  const wipe = find("wipe"), over = find("over"), under = find("under");
  function moveWipe() {
    over.style.clipPath = `inset(0 ${100 - wipe.value}% 0 0)`;
    document.querySelector(".slide-line").style.left = `${wipe.value}%`;
  }

  function showPictures(data, a, b) {
    const sources = { a: data.entries[a].pictures, b: data.entries[b].pictures, reference: data.references };
    const common = Object.keys(sources.a).filter((sample) => Object.hasOwn(sources.b, sample));
    find("pictures").hidden = !common.length;
    if (!common.length) return;
    if (!common.includes(state.sample)) state.sample = common[0];
    fill(find("sample"), common.map((sample) => [sample, sample]), state.sample);
    const names = { a: data.entries[a].name, b: data.entries[b].name, reference: "Reference" };
    const has = Object.hasOwn(sources.reference, state.sample) ? ["a", "b", "reference"] : ["a", "b"];
    if (!has.includes(state.left)) state.left = "a";
    if (!has.includes(state.right)) state.right = "b";
    for (const side of ["left", "right"]) {
      fill(find(side), has.map((which) => [which, which === "reference" ? names[which] : `${which.toUpperCase()}: ${names[which]}`]), state[side]);
      find(`${side}-name`).textContent = names[state[side]];
    }
    for (const [image, which] of [[over, state.left], [under, state.right]]) {
      image.src = sources[which][state.sample];
      image.alt = `${names[which]}, ${state.sample}`;
    }
    moveWipe();
  }

  // ---- choosing

  function keep() {
    const hash = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      if (value && !(name === "left" && value === "a") && !(name === "right" && value === "b")) hash.set(name, value);
    }
    const text = hash.toString().replaceAll("%2F", "/");
    if (text !== location.hash.slice(1)) history.replaceState(null, "", `#${text}`);
  }

  let asked = 0;
  async function show() {
    const mine = ++asked;
    const task = tasks.find(({ slug }) => slug === state.task) ?? tasks[0];
    state.task = task.slug;
    const { names } = task, choices = [...task.first, ...names];
    if (!names.includes(state.a)) state.a = choices[0];
    if (!names.includes(state.b)) state.b = choices.find((name) => name !== state.a) ?? names[0];
    fill(field("task"), tasks.map(({ slug, title }) => [slug, title]), state.task);
    for (const side of ["a", "b"]) fill(field(side), names.map((name) => [name, name]), state[side]);
    const said = find("said");
    try {
      const data = await load(task.slug);
      if (mine !== asked) return;
      said.hidden = names.length > 1;
      said.textContent = names.length > 1 ? "" : "This board has a single submission: there is nothing to compare it with.";
      const [a, b] = [names.indexOf(state.a), names.indexOf(state.b)];
      showNumbers(data, a, b);
      showPictures(data, a, b);
    } catch (error) {
      said.hidden = false;
      said.textContent = `The numbers cannot be shown: ${error.message}. Copy the whole site, not single pages.`;
    }
    keep();
  }

  function restore() {
    const hash = new URLSearchParams(location.hash.slice(1));
    for (const name of Object.keys(state)) state[name] = hash.get(name) ?? "";
    show();
  }

  if (form) {
    form.addEventListener("change", ({ target }) => { state[target.name] = target.value; show(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    find("swap").addEventListener("click", () => { [state.a, state.b] = [state.b, state.a]; show(); });
    for (const name of ["sample", "left", "right"]) find(name).addEventListener("change", ({ target }) => { state[name] = target.value; show(); });
    wipe.addEventListener("input", moveWipe);
    const slide = document.querySelector(".slide");
    const follow = ({ clientX }) => {
      const area = slide.getBoundingClientRect();
      wipe.value = ((clientX - area.left) / area.width) * 100;
      moveWipe();
    };
    slide.addEventListener("pointerdown", (event) => { slide.setPointerCapture(event.pointerId); follow(event); });
    slide.addEventListener("pointermove", (event) => { if (slide.hasPointerCapture(event.pointerId)) follow(event); });
    addEventListener("hashchange", restore);
    restore();
  }
}
