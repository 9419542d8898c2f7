// Polls the server every few seconds, and stops while the page is hidden.

import { get } from "./api.js";
import { askForToken } from "./sign-in.js";
import { at, changes, h } from "./dom.js";
import { count, plural } from "./format.js";
import { draws, linked, longer, newest, state, update } from "./state.js";
import { recommend } from "./recommend.js";
import "./map.js";
import "./timeline.js";
import "./edits.js";
import "./adapters.js";
import "./split.js";
import "./stages.js";
import "./freshness.js";
import "./items.js";

const EVERY = 3000;
const LONGEST = 30000;

const changed = changes();
let timer = null;
let polling = false;
let pause = EVERY;

const CALLS = {
  regions: () => get("regions"),
  edits: () => get("edits?limit=200"),
  versions: () => get("versions"),
  split: () => get("split"),
  stages: () => get("stages"),
  letters: () => get("dead-letters"),
  items: () => get("items"),
};

async function poll() {
  const status = await get("status");
  // Fewer events than before: another server or log is behind the same address.
  const replaced = state.status && (status.at_event ?? -1) < (state.status.at_event ?? -1);
  if (replaced) update({ intervals: [] });
  const [intervals, ...found] = await Promise.allSettled([
    get(`statistics?after=${newest()?.at_event ?? -1}`),
    ...Object.values(CALLS).map((call) => call()),
  ]);
  const change = { status, problems: {} };
  if (intervals.status === "fulfilled") change.intervals = longer(intervals.value);
  Object.keys(CALLS).forEach((name, i) => {
    if (found[i].status === "fulfilled") change[name] = found[i].value;
    else change.problems[name] = found[i].reason.message;
  });
  update(change);
}

/** Poll once, and schedule the next poll; a call during a poll does nothing. */
async function turn() {
  if (polling) return;
  polling = true;
  try {
    await poll();
    pause = EVERY;
    const ready = state.status.status === "ready";
    show(ready ? "live" : "stale", ready ? "live" : state.status.status);
  } catch (error) {
    if (error.status === 401) {
      show("stale", "waiting for a token");
      polling = false;
      askForToken(begin);
      return;
    }
    pause = Math.min(2 * pause, LONGEST);
    show("lost", `${error.message}; trying again in ${Math.round(pause / 1000)} s`);
  }
  polling = false;
  if (document.hidden) show("stale", "paused while hidden");
  else timer = setTimeout(turn, pause);
}

function show(kind, words) {
  if (!changed("live", [kind, words])) return;
  at("live").dataset.kind = kind;
  at("live").lastElementChild.textContent = words;
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) show("stale", "paused while hidden");
  else turn();
});

/** Poll, and show the user of the address if there is one. */
function begin() {
  turn();
  if (link.user) recommend(link.user, null);
}

draws(({ status, regions, letters, stages }) => {
  if (!status || !regions) return;
  const opened = regions.regions.filter((region) => region.origin !== "set-up").length;
  const behind = stages ? stages.reduce((sum, one) => sum + one.behind, 0) : null;
  const facts = [
    ["events", count(status.at_event)],
    ["regions", `${count(regions.regions.length)}, ${count(opened)} opened`],
    ["edits", `${count(status.edits)}, ${count(status.published)} published`],
    ["revision", status.revision < 0 ? "set-up" : count(status.revision)],
    ["users", count(status.users)],
    ["adapters", `${count(status.adapters_registered)} in memory`],
    ["lag", behind === null ? "unknown" : plural(behind, "record")],
    ["refused", plural(letters?.count ?? 0, "record")],
  ];
  if (!changed("facts", facts)) return;
  at("facts").replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
});

const link = linked();
update({ region: link.region, edit: link.edit });
begin();
