// Edits on a timeline and in a list; the details of an edit are those of `raie explain`.

import { get } from "./api.js";
import { at, changes, h, s, sized } from "./dom.js";
import { count, moment, named, number, regionsOf, score, verdict } from "./format.js";
import { choose, draws, open, state } from "./state.js";

const OPERATIONS = ["add", "update", "expand", "merge", "retire", "inject", "unlearn"];
const LANE = 24;
const LEFT = 62;

const changed = changes();
const items = new Map();

const matching = () =>
  state.edits.filter((edit) => state.region === null || regionsOf(edit).includes(state.region));

function drawLine(width) {
  const edits = matching();
  const last = Math.max(1, state.status?.at_event ?? 0, ...state.edits.map((edit) => edit.at_event));
  const lanes = OPERATIONS.filter((one) => edits.some((edit) => edit.operation === one));
  if (!lanes.length) {
    at("edits-line").replaceChildren();
    return;
  }
  const height = lanes.length * LANE + 22;
  const x = (event) => LEFT + (event / last) * (width - LEFT - 12);
  const y = (operation) => lanes.indexOf(operation) * LANE + LANE / 2;
  const svg = s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Edits over the stream; the list below has all of them" },
    lanes.map((one) => [
      s("line", { class: "grid", x1: LEFT, x2: width - 12, y1: y(one), y2: y(one) }),
      s("text", { class: "lane", x: 0, y: y(one) + 4 }, one),
    ]),
    [0, last / 2, last].map((event, i) =>
      s("text", { class: "tick", x: x(event), y: height - 4, "text-anchor": ["start", "middle", "end"][i] }, `${i === 0 ? "event " : ""}${count(Math.round(event))}`),
    ),
    // The newest edit is drawn last, on top.
    [...edits].reverse().map((edit) =>
      s(
        "g",
        { class: `edit ${verdict(edit)}${edit.edit_id === state.edit ? " chosen" : ""}`, click: () => show(edit.edit_id) },
        s("title", {}, `${edit.operation} of region ${edit.region_id}, event ${count(edit.at_event)}, ${verdict(edit)}`),
        s("circle", { class: "hit", cx: x(edit.at_event), cy: y(edit.operation), r: 12 }),
        s("circle", { class: "spot", cx: x(edit.at_event), cy: y(edit.operation), r: 5.5 }),
      ),
    ),
  );
  at("edits-line").replaceChildren(svg);
}

function show(editId) {
  if (state.edit !== editId) open(editId);
  items.get(editId)?.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** Validation on held-out windows: metric before and after, gain and standard error. Lower is better. */
function validationOf(result) {
  if (!result) return h("p", { class: "note" }, "This edit was not validated.");
  const gain = result.before - result.after;
  const error = result.error ?? 0;
  const reach = Math.max(Math.abs(gain) + 1.5 * error, 1e-9) * 1.1;
  const x = (value) => 120 + (value / reach) * 112;
  return h(
    "figure",
    { class: "validation" },
    h("figcaption", {}, `${result.metric.replaceAll("_", " ")} on ${count(result.windows)} held-out windows, lower is better`),
    h(
      "p",
      { class: "numbers" },
      h("span", {}, h("small", {}, "before"), number(result.before, 4)),
      h("span", { "aria-hidden": "true" }, "→"),
      h("span", {}, h("small", {}, "after"), number(result.after, 4)),
      h("span", { class: gain > 0 ? "better" : "worse" }, h("small", {}, "gain"), `${number(gain, 4)} ± ${number(error, 4)}`),
    ),
    s(
      "svg",
      { viewBox: "0 0 240 34", width: 240, height: 34, role: "img", "aria-label": `gain ${number(gain, 4)}, standard error ${number(error, 4)}` },
      s("line", { class: "zero", x1: 120, x2: 120, y1: 2, y2: 22 }),
      s("line", { class: "grid", x1: 4, x2: 236, y1: 12, y2: 12 }),
      s("line", { class: "error", x1: x(gain - error), x2: x(gain + error), y1: 12, y2: 12 }),
      s("circle", { class: gain > 0 ? "better" : "worse", cx: x(gain), cy: 12, r: 5 }),
      s("text", { class: "tick", x: 4, y: 32 }, "worse"),
      s("text", { class: "tick", x: 120, y: 32, "text-anchor": "middle" }, "unchanged"),
      s("text", { class: "tick", x: 236, y: 32, "text-anchor": "end" }, "better"),
    ),
  );
}

class Item {
  constructor(edit) {
    this.id = edit.edit_id;
    this.button = h("button", { type: "button", "aria-controls": `edit-${this.id}`, click: () => open(this.id) });
    this.detail = h("div", { class: "detail", id: `edit-${this.id}`, hidden: true });
    this.element = h("li", {}, this.button, this.detail);
    this.described = null;
  }

  update(edit) {
    const word = verdict(edit);
    const opened = state.edit === this.id;
    this.element.className = word;
    const scores = edit.validation ? `${score(edit.validation.before)} → ${score(edit.validation.after)}` : "";
    const line = [
      h("span", { class: "when" }, count(edit.at_event)),
      h("strong", {}, edit.operation),
      h("span", { class: "where" }, named(edit)),
      h("span", { class: "verdict" }, word, edit.version ? ` ${edit.version}` : ""),
      h("span", { class: "scores" }, scores),
      h("span", { class: "why" }, edit.why ?? edit.signal ?? ""),
    ];
    this.button.replaceChildren(...line);
    this.button.setAttribute("aria-expanded", String(opened));
    this.detail.hidden = !opened;
    if (opened && this.described !== word) {
      this.described = word;
      this.describe(edit);
    }
  }

  async showJson(json) {
    json.hidden = !json.hidden;
    try {
      if (!json.hidden) json.textContent = JSON.stringify(await get(`edits/${encodeURIComponent(this.id)}`), null, 2);
    } catch (error) {
      json.textContent = error.message;
    }
  }

  async describe(edit) {
    const reason = edit.statistic === null
      ? `signal: ${edit.signal}; not due to an alarm`
      : `signal: ${edit.signal}, statistic ${number(edit.statistic, 3)}, threshold ${number(edit.threshold, 3)}`;
    const jump = regionsOf(edit).map((id) =>
      h("button", { type: "button", class: "quiet", click: () => choose(id) }, state.region === id ? "All regions" : `Only region ${id}`),
    );
    // Not a link: a navigation would carry no token.
    const json = h("pre", { class: "explanation", hidden: true });
    const asJson = h("button", { type: "button", class: "quiet", click: () => this.showJson(json) }, "As JSON");
    const foot = h("div", {}, h("p", { class: "actions" }, jump, asJson), json);
    if (edit.published === null) {
      this.detail.replaceChildren(
        h("p", {}, `Pending: requested at event ${count(edit.at_event)} (${moment(edit.timestamp)}) with ${count(edit.windows)} windows of evidence.`),
        h("p", {}, reason),
        foot,
      );
      return;
    }
    const words = h("pre", { class: "explanation" }, "…");
    this.detail.replaceChildren(validationOf(edit.validation), words, foot);
    try {
      words.textContent = await get(`edits/${encodeURIComponent(this.id)}/explanation`);
    } catch (error) {
      this.described = null;
      words.replaceChildren(h("span", { class: "problem" }, `The explanation cannot be read: ${error.message}`));
    }
  }
}

const redraw = sized(at("edits-line"), drawLine);

draws(({ edits, region, edit, status, problems }) => {
  if (!status || !changed("edits", [edits, region, edit, status.at_event, problems.edits])) return;
  const list = matching();
  at("edits-note").textContent = problems.edits
    ? `The edits cannot be read: ${problems.edits}`
    : !edits.length
      ? "No edits yet: no detector has raised an alarm."
      : region === null
        ? `The newest ${count(list.length)} of ${count(status.edits)}. Filled: published; hollow: rejected in validation; dashed: pending.`
        : `${count(list.length)} of the newest ${count(edits.length)} edits concern region ${region}. Select the region again to see all.`;
  for (const one of list) {
    if (!items.has(one.edit_id)) items.set(one.edit_id, new Item(one));
    items.get(one.edit_id).update(one);
  }
  const elements = list.map((one) => items.get(one.edit_id).element);
  const shown = at("edits-list");
  if (elements.length !== shown.children.length || elements.some((one, i) => one !== shown.children[i])) shown.replaceChildren(...elements);
  redraw();
});
