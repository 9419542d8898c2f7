// What the page knows, and what is chosen in it; sections are told when either changes.

/** Intervals kept here: as many as the server remembers. */
const INTERVALS = 500;

export const state = {
  status: null,
  regions: null,
  intervals: [],
  edits: [],
  versions: {},
  stages: null,
  letters: null,
  problems: {},
  region: null,
  edit: null,
  cursor: null,
};

const listeners = [];

/** Have a section drawn now and whenever something changes. */
export const draws = (listener) => listeners.push(listener);

export function update(change) {
  Object.assign(state, change);
  for (const listener of listeners) listener(state);
}

/** Add intervals after those that are known. */
export function longer(intervals) {
  const last = newest()?.at_event ?? -1;
  return [...state.intervals, ...intervals.filter((one) => one.at_event > last)].slice(-INTERVALS);
}

export const newest = () => state.intervals.at(-1) ?? null;

/** The newest row of statistics of a region, or null. */
export function lastRow(regionId) {
  for (let i = state.intervals.length - 1; i >= 0; i -= 1) {
    const row = state.intervals[i].regions.find((one) => one.region_id === regionId);
    if (row) return row;
  }
  return null;
}

/** The share of its threshold that a region's nearest detector has gathered, 0 to 1. */
export function evidence(row) {
  if (!row || row.drift_statistic === null || !(row.threshold > 0)) return 0;
  return Math.min(1, Math.max(0, row.drift_statistic / row.threshold));
}

/** Choose a region, or none if it was chosen already. */
export function choose(regionId) {
  update({ region: state.region === regionId ? null : regionId });
  link();
}

export function open(editId) {
  update({ edit: state.edit === editId ? null : editId });
  link();
}

/** Keep what is chosen in the address, so that it can be passed on. */
function link() {
  const chosen = new URLSearchParams();
  if (state.region !== null) chosen.set("region", state.region);
  if (state.edit !== null) chosen.set("edit", state.edit);
  history.replaceState(null, "", `#${chosen}`);
}

/** What the address asks for. */
export function linked() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const region = Number(asked.get("region") || NaN);
  return { region: Number.isInteger(region) ? region : null, edit: asked.get("edit"), user: asked.get("user") };
}
