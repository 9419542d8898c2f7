// Recommendations for a user, and the origin of the answer.

import { post } from "./api.js";
import { at, h } from "./dom.js";
import { number, percent } from "./format.js";
import { choose } from "./state.js";

const BY = {
  adapter: "an adapter on the backbone",
  backbone: "the backbone",
  trend: "online popularity: this user is unknown",
};

const K = 10;
const form = at("ask-form");
let requests = 0;

function route(weights) {
  const parts = Object.entries(weights).sort((a, b) => b[1] - a[1]);
  return parts.map(([id, weight]) => `${id === "0" ? "set-up regions" : `region ${id}`} ${percent(weight)}`).join(", ");
}

function facts(answer, seconds) {
  const region = answer.region_id === null
    ? "none"
    : h("button", { type: "button", class: "link", click: () => choose(answer.region_id) }, `region ${answer.region_id}`);
  return [
    ["region", region],
    ["answered by", `${BY[answer.answered_by] ?? answer.answered_by}${answer.stood_in ? "; an adapter could not be loaded and was replaced by the backbone" : ""}`],
    ["version", answer.adapter ?? "none"],
    ["generation", String(answer.generation)],
    ["confidence", answer.region_id === null ? "–" : number(answer.confidence)],
    ["route", route(answer.route) || "none"],
    ["revision", answer.revision < 0 ? "set-up" : String(answer.revision)],
    ["took", `${Math.max(1, Math.round(seconds * 1000))} ms`],
  ];
}

/** Sources that proposed an item, and its leading features as a tooltip; nothing where the model alone answers. */
function why(item) {
  if (!item.sources) return null;
  const parts = Object.entries(item.features ?? {}).map(([name, part]) => `${name} ${part >= 0 ? "+" : ""}${number(part)}`);
  return h("small", { class: "why", title: parts.join("\n") }, item.sources.join(", ").replaceAll("_", " "));
}

function items(answer) {
  const best = Math.max(...answer.items.map((item) => item.score), 1e-12);
  return answer.items.map((item) =>
    h(
      "li",
      {},
      h("span", { class: "item" }, item.title || item.item_id),
      h("small", {}, item.item_id),
      why(item),
      h("meter", { min: 0, max: best, value: item.score, "aria-label": "probability" }),
      h("span", { class: "score" }, item.score >= 0.0005 ? `${(item.score * 100).toFixed(1)}%` : "<0.1%"),
    ),
  );
}

/** The filter of the form, as in the body of a request; none where it is empty. */
function filter() {
  const text = form.elements.filter.value.trim();
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('the filter is no JSON object such as {"brand": "acme", "price": {"max": 50}}');
  }
}

/** Fetch a user's recommendations and show them; revision null is the newest. */
export async function recommend(userId, revision) {
  const request = ++requests;
  const output = at("ask-answer");
  form.elements.user.value = userId;
  const began = performance.now();
  let shown;
  try {
    const answer = await post("recommend", { user_id: userId, k: K, revision, explain: true, filter: filter() });
    const rows = facts(answer, (performance.now() - began) / 1000);
    shown = [
      h("dl", { class: "answer" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("ol", { class: "items" }, items(answer)),
    ];
  } catch (error) {
    shown = [h("p", { class: "problem", role: "alert" }, `No recommendation: ${error.message}`)];
  }
  // A slow answer must not replace that of a later request.
  if (request === requests) output.replaceChildren(...shown);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const revision = form.elements.revision.value.trim();
  recommend(form.elements.user.value, revision === "" ? null : Number(revision));
});
