// Adapter versions of each stream region, and rollback to an older one.

import { post } from "./api.js";
import { at, changes, h } from "./dom.js";
import { number, score } from "./format.js";
import { draws, open } from "./state.js";

const changed = changes();
const dialog = at("rollback");
const form = at("rollback-form");
let rollback = null;

function origin(version) {
  if (version.rollback_of) return `rolled back from ${version.rollback_of}`;
  if (!version.edit_id) return "";
  return h("button", { type: "button", class: "link", click: () => open(version.edit_id) }, `edit ${version.edit_id.slice(0, 8)}`);
}

function line(region, version, isLive, administration) {
  const validation = version.validation;
  const isPast = version.adapter !== region.adapter;
  return h(
    "tr",
    { class: isLive ? "live" : null },
    h("th", { scope: "row" }, version.adapter),
    h("td", { class: "words" }, isLive ? "live" : ""),
    h("td", {}, String(version.revision)),
    h("td", { class: "words" }, origin(version)),
    h("td", {}, validation ? `${score(validation.before)} → ${score(validation.after)}` : ""),
    administration
      ? h("td", {}, isPast
          ? h("button", { type: "button", class: "quiet", "aria-label": `Roll region ${region.region_id} back to ${version.adapter}`, click: () => confirmRollback(region, version.adapter) }, "Roll back")
          : null)
      : null,
  );
}

/** Trial of a version: its users, and how much more they click, with the interval that holds at every look. */
function trial(canary) {
  if (!canary) return null;
  const points = (rate) => `${rate < 0 ? "−" : "+"}${Math.abs(100 * rate).toFixed(1)}`;
  const found = canary.trial.difference;
  const clicks = found
    ? `clicks ${points(found.estimate)} points (${points(found.low)} to ${points(found.high)})`
    : "too few clicks yet for an interval";
  return `${canary.adapter} on trial with ${Math.round(100 * canary.share)}% of users: ${clicks}`;
}

function table(region, versions, administration) {
  const columns = ["version", "", "revision", "origin", "before → after", ...(administration ? [""] : [])];
  const state = [
    region.refused ? `${region.refused} is damaged and was rejected; the last good version answers` : null,
    region.pinned ? `pinned to ${region.pinned}` : null,
    `adapter weight ${number(region.trust)}`,
    trial(region.canary),
  ];
  return h(
    "article",
    { class: "versions" },
    h("h3", {}, `Region ${region.region_id}`, h("small", {}, state.filter(Boolean).join("; "))),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": `Versions of region ${region.region_id}` },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, versions.map((version, i) => line(region, version, i === 0 && version.adapter === region.adapter, administration))),
      ),
    ),
  );
}

function confirmRollback(region, adapter) {
  rollback = { region_id: region.region_id, to: adapter };
  at("rollback-what").textContent = `Region ${region.region_id} is answered with ${region.adapter}. A new revision will replace it by ${adapter} on every server; boundaries do not change.`;
  at("rollback-problem").hidden = true;
  dialog.showModal();
}

at("rollback-cancel").addEventListener("click", () => dialog.close());
// The token is never stored, and the field is cleared when the dialog closes.
dialog.addEventListener("close", () => {
  form.elements.token.value = "";
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = at("rollback-problem");
  problem.hidden = true;
  try {
    await post("admin/rollback", { ...rollback, by: form.elements.by.value }, form.elements.token.value);
    dialog.close();
  } catch (error) {
    problem.textContent = `Nothing was changed: ${error.message}`;
    problem.hidden = false;
  }
});

draws(({ regions, versions, status, region }) => {
  if (!regions || !status) return;
  const adapted = regions.regions.filter((one) => one.adapter !== null && (region === null || one.region_id === region));
  if (!changed("adapters", [adapted, versions, status.administration, region])) return;
  at("adapters-note").textContent = !adapted.length
    ? region === null
      ? "No region has an adapter yet: the backbone answers all users."
      : `Region ${region} has no adapter: the backbone answers for it.`
    : status.administration
      ? "A rollback needs a token with the role admin, and is written as a new revision: no record is ever changed."
      : "Rollback is off: access.tokens of the server has no token with the role admin.";
  at("adapters-list").replaceChildren(...adapted.map((one) => table(one, versions[one.region_id] ?? [], status.administration)));
});
