// Map of the regions: centroids on the plane of their two principal axes.

import { at, changes, h, s, sized } from "./dom.js";
import { count, number, percent } from "./format.js";
import { choose, draws, evidence, lastRow, state } from "./state.js";

const changed = changes();
const canvas = at("map-canvas");
const LABEL = 24;

const shareOf = (region) => region.traffic ?? region.prior;

function described(region) {
  const row = lastRow(region.region_id);
  const drift = row && row.drift_statistic !== null
    ? `, drift statistic ${number(row.drift_statistic)} of ${number(row.threshold)}`
    : "";
  const confidence = row ? `, confidence ${number(row.confidence)}` : "";
  const origin = region.origin === "set-up" ? "set-up region" : `opened at event ${count(region.opened_at)}`;
  return `Region ${region.region_id}, ${origin}, ${percent(shareOf(region))} of the traffic${confidence}${drift}`;
}

function places(regions, width, height, margin) {
  const spread = (name, length) => {
    const values = regions.map((region) => region[name]);
    const low = Math.min(...values);
    return { middle: (low + Math.max(...values)) / 2, span: Math.max(...values) - low, room: length - 2 * margin };
  };
  const x = spread("x", width);
  const y = spread("y", height);
  // One scale for both axes keeps the proportions of distances.
  const scale = Math.min(x.room / (x.span || 1), y.room / (y.span || 1));
  return new Map(
    regions.map((region) => [
      region.region_id,
      [width / 2 + (region.x - x.middle) * scale, height / 2 - (region.y - y.middle) * scale],
    ]),
  );
}

/** Arc of a ring from the top, clockwise, over a share of its length. */
function arc([x, y], radius, share) {
  if (share >= 1) return `M${x},${y - radius} a${radius},${radius} 0 1 1 -0.01,0 z`;
  const angle = share * 2 * Math.PI;
  const end = [x + radius * Math.sin(angle), y - radius * Math.cos(angle)];
  return `M${x},${y - radius} A${radius},${radius} 0 ${share > 0.5 ? 1 : 0} 1 ${end[0]},${end[1]}`;
}

function mark(region, place, label, radius) {
  const share = evidence(lastRow(region.region_id));
  const chosen = state.region === region.region_id;
  const toggle = () => choose(region.region_id);
  return s(
    "g",
    {
      class: `region ${region.origin === "set-up" ? "setup" : "opened"}${chosen ? " chosen" : ""}`,
      tabindex: 0,
      role: "button",
      "aria-pressed": String(chosen),
      "aria-label": described(region),
      "data-region": region.region_id,
      click: toggle,
      keydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        toggle();
      },
    },
    s("title", {}, described(region)),
    s("circle", { class: "area", cx: place[0], cy: place[1], r: radius }),
    s("circle", { class: "core", cx: place[0], cy: place[1], r: 2.5 }),
    s("circle", { class: "track", cx: place[0], cy: place[1], r: radius + 4 }),
    share > 0.005 ? s("path", { class: "drift", d: arc(place, radius + 4, share) }) : null,
    s("text", { x: label[0], y: label[1], "text-anchor": "middle" }, String(region.region_id)),
  );
}

const radiusOf = (region, biggest) => 7 + (biggest - 7) * Math.sqrt(Math.min(1, shareOf(region)));

/** Position of each region's label: above its circle, or beside it if another label is in the way. */
function labels(regions, place, biggest) {
  const taken = [];
  return new Map(
    regions.map((region) => {
      const [x, y] = place.get(region.region_id);
      const away = radiusOf(region, biggest) + 9;
      const options = [[x, y - away], [x, y + away + 10], [x + away + 6, y + 4], [x - away - 6, y + 4]];
      const free = options.find(([a, b]) => taken.every(([c, d]) => Math.abs(a - c) > 20 || Math.abs(b - d) > 15));
      taken.push(free ?? options[0]);
      return [region.region_id, free ?? options[0]];
    }),
  );
}

function draw(width) {
  const regions = state.regions?.regions ?? [];
  if (!regions.length) return;
  const height = Math.round(Math.min(500, Math.max(270, width * 0.68)));
  const biggest = Math.min(74, width / 7);
  // The largest circle stays whole, with its label, wherever it lies.
  const margin = Math.max(...regions.map((region) => radiusOf(region, biggest))) + LABEL;
  const place = places(regions, width, height, margin);
  const focused = document.activeElement?.dataset?.region;
  const ties = regions.filter((region) => place.has(region.parent)).map((region) => {
    const [from, to] = [place.get(region.parent), place.get(region.region_id)];
    return s("line", { class: "tie", x1: from[0], y1: from[1], x2: to[0], y2: to[1] });
  });
  const largestFirst = [...regions].sort((a, b) => shareOf(b) - shareOf(a));
  const label = labels(largestFirst, place, biggest);
  canvas.replaceChildren(
    s(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Map of the regions" },
      ties,
      largestFirst.map(({ region_id: id, ...region }) =>
        mark({ region_id: id, ...region }, place.get(id), label.get(id), radiusOf(region, biggest)),
      ),
    ),
  );
  if (focused) canvas.querySelector(`[data-region="${Number(focused)}"]`)?.focus();
}

const redraw = sized(canvas, draw);

draws(({ regions, region, intervals }) => {
  if (!regions) return;
  if (!changed("map", [regions.regions, region, intervals.at(-1)])) return;
  at("map-note").textContent =
    `Centroids on the plane of their two principal axes, which holds ${percent(regions.plane_share)} of their variance. ` +
    "Select a region to see only its edits.";
  redraw();
});

export const regionLink = (regionId) =>
  h("button", { type: "button", class: "link", click: () => choose(regionId) }, `region ${regionId}`);
