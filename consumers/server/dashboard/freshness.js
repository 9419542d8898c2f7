// Time from a gated event to its effect, by step.

import { at, changes, h } from "./dom.js";
import { count, number } from "./format.js";
import { draws } from "./state.js";

const STEPS = {
  counted: "gated event to its counts in the answers",
  decided: "newest window of an edit to the edit",
  published: "edit to its revision, training included",
  served: "revision to its regions in the answers",
};

const changed = changes();

const span = (seconds) =>
  seconds < 120 ? `${number(seconds, seconds < 10 ? 2 : 0)} s` : seconds < 7200 ? `${number(seconds / 60, 1)} min` : `${number(seconds / 3600, 1)} h`;

const line = ([step, times]) =>
  h(
    "tr",
    {},
    h("th", { scope: "row" }, step),
    h("td", { class: "words" }, STEPS[step] ?? ""),
    h("td", {}, span(times.p50)),
    h("td", {}, span(times.p99)),
    h("td", {}, count(times.count)),
  );

draws(({ status }) => {
  const freshness = status?.freshness;
  if (!freshness || !changed("freshness", freshness)) return;
  const steps = Object.entries(freshness);
  if (!steps.length) {
    at("freshness-table").replaceChildren(h("p", { class: "note" }, "Nothing was measured yet."));
    return;
  }
  at("freshness-table").replaceChildren(
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["step", "from and to", "median", "99%", "newest"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, steps.map(line)),
    ),
  );
});
