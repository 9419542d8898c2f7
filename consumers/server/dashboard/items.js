// Numbers of items that the server knows.

import { at, changes, h } from "./dom.js";
import { count } from "./format.js";
import { draws } from "./state.js";

const changed = changes();

draws(({ items, problems }) => {
  if (!changed("items", [items, problems.items])) return;
  const place = at("items-numbers");
  if (problems.items) {
    place.replaceChildren(h("p", { class: "problem" }, `The items cannot be counted: ${problems.items}`));
    return;
  }
  if (!items) return;
  const numbers = [
    ["known", items.known],
    ["recommendable now", items.existing],
    ["withdrawn", items.withdrawn],
    ["without a text", items.without_text],
  ];
  const rows = numbers.map(([name, number]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, count(number))));
  place.replaceChildren(h("table", {}, h("tbody", {}, rows)));
});
