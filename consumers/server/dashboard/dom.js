// Elements from values. Text is always a text node: nothing from the log is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element with attributes; an attribute that is a function listens to the event of its name. */
export const h = (tag, given, ...children) => fill(document.createElement(tag), given, children);

/** An SVG element, likewise. */
export const s = (tag, given, ...children) => fill(document.createElementNS(SVG, tag), given, children);

export const at = (id) => document.getElementById(id);

/** Call `draw(width)` whenever the width of an element changes; return a function that redraws. */
export function sized(element, draw) {
  let width = 0;
  const redraw = () => width > 0 && draw(width);
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now === width) return;
    width = now;
    redraw();
  }).observe(element);
  return redraw;
}

/** Return a function that is true if a value differs from that of the last call with the same name. */
export function changes() {
  const seen = new Map();
  return (name, value) => {
    const text = JSON.stringify(value);
    if (seen.get(name) === text) return false;
    seen.set(name, text);
    return true;
  };
}
