// What a user is recommended, and what answered.

import { post } from "./api.js";
import { at, h } from "./dom.js";
import { number, percent } from "./words.js";
import { choose } from "./state.js";

const BY = {
  adapter: "an adapter, beside the backbone",
  backbone: "the backbone",
  trend: "what is taken of late: this user is not known",
};

const K = 10;
const form = at("ask-form");
let asked = 0;

function route(weights) {
  const parts = Object.entries(weights).sort((a, b) => b[1] - a[1]);
  return parts.map(([id, weight]) => `${id === "0" ? "set-up" : `region ${id}`} ${percent(weight)}`).join(", ");
}

function facts(answer, seconds) {
  const region = answer.region_id === null
    ? "none"
    : h("button", { type: "button", class: "link", click: () => choose(answer.region_id) }, `region ${answer.region_id}`);
  return [
    ["region", region],
    ["answered by", `${BY[answer.answered_by] ?? answer.answered_by}${answer.stood_in ? "; an adapter could not be loaded, the backbone stood in" : ""}`],
    ["version", answer.adapter ?? "none"],
    ["confidence", answer.region_id === null ? "–" : number(answer.confidence)],
    ["route", route(answer.route) || "none"],
    ["revision", answer.revision < 0 ? "set-up" : String(answer.revision)],
    ["took", `${Math.max(1, Math.round(seconds * 1000))} ms`],
  ];
}

function items(answer) {
  const best = Math.max(...answer.items.map((item) => item.score), 1e-12);
  return answer.items.map((item) =>
    h(
      "li",
      {},
      h("span", { class: "item" }, item.title || item.item_id),
      h("small", {}, item.item_id),
      h("meter", { min: 0, max: best, value: item.score, "aria-label": "probability" }),
      h("span", { class: "score" }, item.score >= 0.0005 ? `${(item.score * 100).toFixed(1)}%` : "<0.1%"),
    ),
  );
}

/** Ask for a user's recommendations and show them; revision null is the newest. */
export async function recommend(userId, revision) {
  const number_ = ++asked;
  const place = at("ask-answer");
  form.elements.user.value = userId;
  const began = performance.now();
  let shown;
  try {
    const answer = await post("recommend", { user_id: userId, k: K, revision });
    const rows = facts(answer, (performance.now() - began) / 1000);
    shown = [
      h("dl", { class: "answer" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("ol", { class: "items" }, items(answer)),
    ];
  } catch (error) {
    shown = [h("p", { class: "problem", role: "alert" }, `No recommendation: ${error.message}`)];
  }
  // A slow answer must not replace that of a later question.
  if (number_ === asked) place.replaceChildren(...shown);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const revision = form.elements.revision.value.trim();
  recommend(form.elements.user.value, revision === "" ? null : Number(revision));
});
