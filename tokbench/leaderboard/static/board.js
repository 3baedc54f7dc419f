// Boards: sorting and filtering by DataTables, and an address that keeps both. Without scripts the tables stand as they
// are written, best first.
"use strict";
{
  // Numbers by their data-order; those without one come last, whichever way the column is sorted.
  const last = (compare) => (a, b) => (a === "" ? (b === "" ? 0 : 1) : b === "" ? -1 : compare(Number(a), Number(b)));
  DataTable.type("number-or-missing", { className: "", order: { asc: last((a, b) => a - b), desc: last((a, b) => b - a) } });

  function enhance(table) {
    const heads = [...table.tHead.rows[0].cells];
    const of = (kind) => heads.flatMap((head, index) => (head.classList.contains(kind) ? [index] : []));
    return new DataTable(table, {
      paging: false,
      info: false,
      autoWidth: false,
      order: [],
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
      columnDefs: [{ targets: of("number"), type: "number-or-missing" }, { targets: of("text"), type: "string" }],
    });
  }

  function setUpBoard(table, form) {
    const names = [...table.tHead.rows[0].cells].map((head) => head.dataset.name);
    const rows = [...table.tBodies[0].rows];
    const words = new Map(rows.map((row) => [row, `${row.dataset.family} ${row.textContent}`.toLowerCase()]));
    const spots = [...document.querySelectorAll(".spot")];
    const fields = [...form.elements].filter(({ name }) => name);
    const field = (name) => form.elements.namedItem(name)?.value.trim() ?? "";
    const shown = document.getElementById("shown");
    const board = enhance(table);

    function passes(row) {
      const { family, latent, licence, bpp } = row.dataset;
      for (const [name, own] of Object.entries({ family, latent, licence })) {
        if (field(name) && field(name) !== own) return false;
      }
      const low = field("bpp_min"), high = field("bpp_max");
      if ((low || high) && bpp === "") return false;
      if ((low && Number(bpp) < Number(low)) || (high && Number(bpp) > Number(high))) return false;
      return field("q").toLowerCase().split(/\s+/).every((word) => words.get(row).includes(word));
    }

    board.search.fixed("filters", (_, data, index) => passes(board.row(index).node()));

    board.on("draw", () => {
      const left = new Set(board.rows({ search: "applied" }).nodes().toArray().map((row) => row.dataset.row));
      shown.textContent = left.size === rows.length ? `${rows.length} shown` : `${left.size} of ${rows.length} shown`;
      for (const spot of spots) spot.classList.toggle("dimmed", !left.has(spot.dataset.row));
    });

    // The address: #sort=psnr:desc&family=lbg&bpp_max=1
    let isRestoring = false;
    function keep() {
      if (isRestoring) return;
      const state = new URLSearchParams();
      const sorted = board.order().filter(([, direction]) => direction);
      if (sorted.length) state.set("sort", sorted.map(([column, direction]) => `${names[column]}:${direction}`).join(","));
      for (const { name, value } of fields) if (value.trim()) state.set(name, value.trim());
      const hash = state.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
      if (hash !== location.hash.slice(1)) history.replaceState(null, "", `#${hash}`);
    }
    function restore() {
      const text = location.hash.slice(1);
      if (text && !text.includes("=")) return;  // an anchor
      const state = new URLSearchParams(text);
      isRestoring = true;
      for (const one of fields) {
        one.value = state.get(one.name) ?? "";
        if (one.selectedIndex === -1) one.selectedIndex = 0;
      }
      const order = (state.get("sort") ?? "").split(",").flatMap((part) => {
        const at = part.lastIndexOf(":");
        const column = names.indexOf(part.slice(0, at)), direction = part.slice(at + 1);
        return column >= 0 && ["asc", "desc"].includes(direction) ? [[column, direction]] : [];
      });
      board.order(order).draw();
      isRestoring = false;
    }

    board.on("order", keep);
    form.addEventListener("input", () => { board.draw(); keep(); });
    form.addEventListener("reset", () => setTimeout(() => { board.order([]).draw(); keep(); }));
    form.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", restore);
    form.hidden = false;
    restore();
  }

  const table = document.getElementById("board");
  if (table) setUpBoard(table, document.getElementById("filters"));
  document.querySelectorAll(".published-table").forEach(enhance);
}
