// Elements from values. Text is only ever a text node: nothing from the log is read as markup.

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

/** An element of HTML; functions among what is given listen to the event of that name. */
export const h = (tag, given, ...children) => fill(document.createElement(tag), given, children);

/** An element of SVG. */
export const s = (tag, given, ...children) => fill(document.createElementNS(SVG, tag), given, children);

export const at = (id) => document.getElementById(id);

/** Call `draw(width)` whenever an element has got another width; return what draws anew. */
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

/** Say whether a value is another one than at the last call of the same name. */
export function changes() {
  const seen = new Map();
  return (name, value) => {
    const text = JSON.stringify(value);
    if (seen.get(name) === text) return false;
    seen.set(name, text);
    return true;
  };
}
