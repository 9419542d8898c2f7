// Sets the colour scheme before the first paint: the stored choice, or the system's.
"use strict";
(() => {
  const KEY = "raie-theme";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be blocked; the system's scheme applies then
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
        // Storage may be blocked; the choice lasts until the page is closed.
      }
    });
    dark.addEventListener("change", label);
    label();
  });
})();
