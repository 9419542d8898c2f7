// Confidence and drift statistic of each region over the stream, with its alarms and edits.

import { at, changes, h, s, sized } from "./dom.js";
import { count, number, percent, regionsOf, verdict } from "./format.js";
import { choose, draws, open, state, update } from "./state.js";

const SHOWN = 8;
const HEIGHT = 74;
const PAD = { top: 13, right: 8, bottom: 5, left: 30 };

const changed = changes();
const rows = new Map();
let everything = false;

function seriesOf(regionId) {
  const found = [];
  for (const interval of state.intervals) {
    const row = interval.regions.find((one) => one.region_id === regionId);
    if (row) found.push({ at: interval.at_event, ...row });
  }
  return found;
}

const span = () => {
  const first = state.intervals[0]?.at_event ?? 0;
  const last = state.intervals.at(-1)?.at_event ?? 1;
  return [Math.min(first, last - 1), last];
};

function path(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
}

function triangle(x, edit) {
  return s(
    "g",
    { class: `mark ${verdict(edit)}`, click: () => open(edit.edit_id) },
    s("title", {}, `${edit.operation} at event ${count(edit.at_event)}, ${verdict(edit)}`),
    s("line", { x1: x, x2: x, y1: PAD.top - 3, y2: HEIGHT - PAD.bottom }),
    s("path", { d: `M${x - 4.5},2 h9 l-4.5,8 z` }),
  );
}

/** Scales of a chart: events to x, values up to `top` to y; higher values are drawn at the upper edge. */
function scales(width, top) {
  const [first, last] = span();
  const room = HEIGHT - PAD.bottom - PAD.top;
  return {
    x: (event) => PAD.left + ((event - first) / (last - first || 1)) * (width - PAD.right - PAD.left),
    y: (value) => HEIGHT - PAD.bottom - (Math.max(0, Math.min(top, value)) / top) * room,
    right: width - PAD.right,
  };
}

const tick = (y, label) => s("text", { class: "tick", x: PAD.left - 5, y: y + 3.5, "text-anchor": "end" }, label);

/** Elements of both charts: base line, edits, the line itself, cursor. */
function chart({ x, y, right }, series, edits, value) {
  const [first, last] = span();
  const points = series.filter((row) => value(row) !== null).map((row) => [x(row.at), y(value(row)), row]);
  const shown = points.find(([, , row]) => row.at === state.cursor) ?? points.at(-1);
  return [
    s("line", { class: "base", x1: PAD.left, x2: right, y1: y(0), y2: y(0) }),
    tick(y(0), "0"),
    edits.filter((edit) => edit.at_event >= first && edit.at_event <= last).map((edit) => triangle(x(edit.at_event), edit)),
    points.length ? s("path", { class: "line", d: path(points) }) : null,
    state.cursor === null
      ? null
      : s("line", { class: "cursor", x1: x(state.cursor), x2: x(state.cursor), y1: PAD.top, y2: HEIGHT - PAD.bottom }),
    shown ? s("circle", { class: "last", cx: shown[0], cy: shown[1], r: 2.6 }) : null,
  ];
}

function confidenceChart(width, series, edits) {
  const scale = scales(width, 1);
  return [
    s("line", { class: "grid", x1: PAD.left, x2: scale.right, y1: scale.y(1), y2: scale.y(1) }),
    tick(scale.y(1), "1"),
    chart(scale, series, edits, (row) => row.confidence),
  ];
}

const alarmed = (row) => row.drift_statistic !== null && row.drift_statistic >= row.threshold;

function driftChart(width, series, edits) {
  const highest = Math.max(0, ...series.map((row) => row.threshold));
  // At most twice the threshold is drawn, so that the threshold remains visible.
  const most = Math.max(0, ...series.map((row) => row.drift_statistic ?? 0));
  const scale = scales(width, Math.min(2 * highest, Math.max(1.15 * highest, most)) || 1);
  const last = series.at(-1);
  // Each signal has its own threshold, and the signal nearest to an alarm changes over time.
  const bounds = series.map((row) => [scale.x(row.at), scale.y(row.threshold)]);
  return [
    bounds.length > 1 ? s("path", { class: "threshold", d: path(bounds) }) : null,
    last ? tick(scale.y(last.threshold), number(last.threshold, 0)) : null,
    chart(scale, series, edits, (row) => row.drift_statistic),
    series.filter(alarmed).map((row) => s("circle", { class: "alarm", cx: scale.x(row.at), cy: scale.y(row.drift_statistic), r: 3 })),
  ];
}

function move(event, element) {
  const [first, last] = span();
  const box = element.getBoundingClientRect();
  const share = (event.clientX - box.left - PAD.left) / (box.width - PAD.left - PAD.right);
  const target = first + share * (last - first);
  const events = state.intervals.map((one) => one.at_event);
  const nearest = events.reduce((best, one) => (Math.abs(one - target) < Math.abs(best - target) ? one : best), events[0]);
  if (nearest !== undefined && nearest !== state.cursor) update({ cursor: nearest });
}

function step(by) {
  const events = state.intervals.map((one) => one.at_event);
  const index = state.cursor === null ? events.length - 1 : events.indexOf(state.cursor) + by;
  if (events.length) update({ cursor: events[Math.max(0, Math.min(events.length - 1, index))] });
}

class Row {
  constructor(regionId) {
    this.regionId = regionId;
    this.name = h("button", { type: "button", class: "link name", click: () => choose(regionId) }, `Region ${regionId}`);
    this.about = h("p", { class: "about" });
    this.values = h("p", { class: "values" });
    this.confidence = this.canvas("confidence");
    this.drift = this.canvas("drift");
    this.element = h(
      "article",
      { class: "course" },
      h("div", { class: "summary" }, h("h3", {}, h("i", { class: "dot" }), this.name), this.about, this.values),
      this.confidence.figure,
      this.drift.figure,
    );
  }

  canvas(kind) {
    const svg = s("svg", { class: kind, height: HEIGHT, role: "img", tabindex: 0 });
    svg.addEventListener("pointermove", (event) => move(event, svg));
    svg.addEventListener("pointerleave", () => update({ cursor: null }));
    svg.addEventListener("blur", () => update({ cursor: null }));
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      step(by);
    });
    const figure = h("figure", {}, h("figcaption", {}, kind === "drift" ? "drift statistic" : "confidence"), svg);
    const made = { svg, figure, width: 0 };
    sized(figure, (width) => {
      made.width = width;
      this.draw();
    });
    return made;
  }

  draw() {
    const region = state.regions.regions.find((one) => one.region_id === this.regionId);
    if (!region) return;
    const series = seriesOf(this.regionId);
    const edits = state.edits.filter((edit) => regionsOf(edit).includes(this.regionId));
    const row = (state.cursor !== null && series.find((one) => one.at === state.cursor)) || series.at(-1);
    this.describe(region, row);
    const paint = ({ svg, width }, drawn) => {
      if (!width) return;
      svg.setAttribute("width", width);
      svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      svg.replaceChildren(...drawn(width, series, edits).flat(Infinity).filter(Boolean));
    };
    paint(this.confidence, confidenceChart);
    paint(this.drift, driftChart);
    const alarms = series.filter(alarmed).length;
    this.confidence.svg.setAttribute("aria-label", `Region ${this.regionId}: confidence over the stream, now ${number(row?.confidence)}. Use the arrow keys to read values.`);
    this.drift.svg.setAttribute("aria-label", `Region ${this.regionId}: drift statistic over the stream, now ${number(row?.drift_statistic)} of ${number(row?.threshold)}, ${alarms} intervals in alarm, ${edits.length} edits. Use the arrow keys to read values.`);
  }

  describe(region, row) {
    const origin = region.origin === "set-up" ? "set-up region" : `opened at event ${count(region.opened_at)}`;
    this.element.classList.toggle("opened", region.origin !== "set-up");
    this.element.classList.toggle("chosen", state.region === this.regionId);
    this.name.setAttribute("aria-pressed", String(state.region === this.regionId));
    this.about.textContent = `${origin}, ${percent(region.traffic ?? region.prior)} of the traffic`;
    if (!row) {
      this.values.textContent = "no events yet";
      return;
    }
    const drift = row.drift_statistic === null ? "no drift test yet" : `${row.signal} ${number(row.drift_statistic)} of ${number(row.threshold)}`;
    const when = state.cursor === null ? "" : `event ${count(row.at)}: `;
    // An AUC: 0.5 is as in set-up. Opened regions have no set-up windows to compare with.
    const separability = row.told_apart == null ? "" : `, separability from set-up ${number(row.told_apart)}`;
    // Statistics of earlier versions have no recall.
    const recall = row.recall == null ? "" : `, Recall@10 ${number(row.recall)} (popularity ${number(row.popularity_recall)})`;
    this.values.textContent = `${when}confidence ${number(row.confidence)}, ${drift}${separability}${recall}`;
  }
}

function shown(regions) {
  const busiest = [...regions].sort((a, b) => (b.traffic ?? b.prior) - (a.traffic ?? a.prior) || a.region_id - b.region_id);
  // Opened regions come first, even if they are small.
  const first = [...busiest.filter((r) => r.origin !== "set-up"), ...busiest.filter((r) => r.origin === "set-up")];
  const selected = everything ? first : first.slice(0, SHOWN);
  return [...first.filter((r) => selected.includes(r) || r.region_id === state.region)].sort((a, b) => a.region_id - b.region_id);
}

draws(({ regions, intervals, edits, region, cursor }) => {
  if (!regions) return;
  if (!changed("course", [regions.regions, intervals.length, intervals.at(-1)?.at_event, edits, region, cursor, everything])) return;
  const chosen = shown(regions.regions);
  const ids = chosen.map((one) => one.region_id);
  for (const id of ids) if (!rows.has(id)) rows.set(id, new Row(id));
  const list = at("course-rows");
  const elements = ids.map((id) => rows.get(id).element);
  if (elements.length !== list.children.length || elements.some((one, i) => one !== list.children[i])) list.replaceChildren(...elements);
  for (const id of ids) rows.get(id).draw();
  const [first, last] = span();
  at("course-note").textContent = intervals.length
    ? `Events ${count(first)} to ${count(last)}. The drift statistic is that of the region's detector nearest to an alarm; the dashed line is its threshold. Triangles are edits, filled if published.`
    : "The monitor has not written statistics yet: it does so every few hundred events.";
  const more = at("course-all");
  more.hidden = regions.regions.length <= SHOWN;
  more.textContent = everything ? "Show only the busiest regions" : `Show all ${regions.regions.length} regions`;
});

at("course-all").addEventListener("click", () => {
  everything = !everything;
  update({});
});
