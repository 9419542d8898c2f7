// Before the first paint: the scheme that was chosen here, or the system's.
"use strict";
(() => {
  const KEY = "raie-theme";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be blocked; the system's scheme holds then
    }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  };
  const now = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  apply(chosen());
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => {
      button.textContent = now() === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to the ${button.textContent.toLowerCase()} scheme`);
    };
    button.addEventListener("click", () => {
      apply(now() === "dark" ? "light" : "dark");
      label();
      try {
        localStorage.setItem(KEY, now());
      } catch {
        // It holds until the page is left.
      }
    });
    dark.addEventListener("change", label);
    label();
  });
})();
