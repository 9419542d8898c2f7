// Users who are answered by another generation, and what both sides click; hidden without such a split.

import { at, changes, h } from "./dom.js";
import { count, moment, number } from "./format.js";
import { draws } from "./state.js";

const changed = changes();

const signed = (value) => `${value < 0 ? "" : "+"}${number(value, 4)}`;

const between = (arm) => `${number(arm.low, 4)} to ${number(arm.high, 4)}`;

const line = (arm, share) =>
  h(
    "tr",
    {},
    h("th", { scope: "row" }, `generation ${arm.generation}`),
    h("td", {}, `${(100 * share).toFixed(1)}%`),
    h("td", {}, count(arm.shown)),
    h("td", {}, count(arm.clicked)),
    h("td", {}, arm.shown ? number(arm.clicked / arm.shown, 4) : "–", arm.shown ? h("small", {}, between(arm)) : null),
  );

const verdict = ({ estimate, low, high }, generation) => {
  const which = low > 0 ? "is clicked more" : high < 0 ? "is clicked less" : "may be clicked more or less";
  return `Difference ${signed(estimate)}, ${signed(low)} to ${signed(high)} (95%, at every look): generation ${generation} ${which}.`;
};

draws(({ split, problems }) => {
  if (!changed("split", [split, problems.split])) return;
  at("split").hidden = !split && !problems.split;
  if (problems.split) {
    at("split-outcome").replaceChildren(h("p", { class: "problem" }, `It cannot be read: ${problems.split}`));
    return;
  }
  if (!split) return;
  const columns = ["answers", "users", "shown", "clicked", "rate, 95% interval"];
  at("split-note").textContent = `By ${split.by} since ${moment(split.since)}. Clicks are those that clients report (POST /feedback).`;
  at("split-outcome").replaceChildren(
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, line(split.tried, split.share), line(split.others, 1 - split.share)),
      ),
    ),
    h("p", { class: "note" }, split.difference ? verdict(split.difference, split.generation) : "Too few answers were shown for a difference."),
  );
});
