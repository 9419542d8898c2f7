// Lag of each stage, and refused records.

import { at, changes, h } from "./dom.js";
import { count, moment, plural } from "./format.js";
import { draws } from "./state.js";

const changed = changes();

function byStage(lags) {
  const stages = new Map();
  for (const lag of lags) {
    const stage = stages.get(lag.stage) ?? { name: lag.stage, topic: lag.topic, partitions: 0, behind: 0, end: 0, worst: null };
    stage.partitions += 1;
    stage.behind += lag.behind;
    stage.end += lag.end;
    if (lag.behind > (stage.worst?.behind ?? 0)) stage.worst = lag;
    stages.set(lag.stage, stage);
  }
  return [...stages.values()];
}

function stageLine(stage) {
  const most = stage.worst && stage.partitions > 1 ? h("small", {}, `partition ${stage.worst.partition}: ${count(stage.worst.behind)}`) : null;
  return h(
    "tr",
    { class: stage.behind ? "behind" : null },
    h("th", { scope: "row" }, stage.name),
    h("td", { class: "words" }, stage.topic, stage.partitions > 1 ? h("small", {}, plural(stage.partitions, "partition")) : null),
    h("td", {}, count(stage.behind), most),
    h("td", {}, count(stage.end)),
  );
}

draws(({ stages, problems }) => {
  if (!changed("stages", [stages, problems.stages])) return;
  const problem = problems.stages ? h("p", { class: "problem" }, `The lag cannot be read: ${problems.stages}`) : null;
  const table = stages && h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ["stage", "reads", "lag", "records"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, byStage(stages).map(stageLine)),
  );
  at("stages-table").replaceChildren(...[problem, problem ? null : table].filter(Boolean));
});

const NEWEST = 8;

function letterLine(letter) {
  return h(
    "li",
    {},
    h("strong", {}, letter.reason),
    h("span", { class: "where" }, `${letter.topic}/${letter.partition}, offset ${letter.offset}`),
    h("span", { class: "when" }, moment(letter.timestamp)),
  );
}

draws(({ letters, problems }) => {
  if (!changed("letters", [letters, problems.letters])) return;
  const list = at("letters-list");
  if (problems.letters) {
    list.replaceChildren(h("p", { class: "problem" }, `The dead letters cannot be read: ${problems.letters}`));
    return;
  }
  if (!letters) return;
  if (!letters.count) {
    list.replaceChildren(h("p", { class: "note" }, "No record was refused."));
    return;
  }
  const reasons = Object.entries(letters.reasons).map(([reason, number]) => `${reason} ${count(number)}`).join(", ");
  const replayed = letters.replayed ? `; ${count(letters.replayed)} replayed` : "";
  list.replaceChildren(
    h("p", { class: "note" }, `${plural(letters.count, "record")} refused (${reasons})${replayed}. The newest:`),
    h("ol", { class: "letters" }, letters.newest.slice(0, NEWEST).map(letterLine)),
  );
});
