// The theme of the reader's choice, kept for all pages; in the head, so that no page flashes in the other one.
"use strict";
{
  const THEMES = ["system", "light", "dark"];
  const store = (() => {
    try { return window.localStorage; } catch { return null; }  // some browsers refuse storage to local files
  })();
  let theme = store?.getItem("tokbench-theme");
  if (!THEMES.includes(theme)) theme = "system";
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  show();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => { button.lastElementChild.textContent = theme; };
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      try { store?.setItem("tokbench-theme", theme); } catch { /* then it lasts as long as the page */ }
      show();
      name();
    });
    name();
  });
}
