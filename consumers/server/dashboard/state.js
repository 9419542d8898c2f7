// State of the page: data of the server and the selection. Sections redraw when either changes.

/** Most intervals that are stored: as many as the server has. */
const INTERVALS = 500;

export const state = {
  status: null,
  regions: null,
  intervals: [],
  edits: [],
  versions: {},
  split: null,
  stages: null,
  letters: null,
  items: null,
  problems: {},
  region: null,
  edit: null,
  cursor: null,
};

const listeners = [];

/** Register a function that draws a section at each change. */
export const draws = (listener) => listeners.push(listener);

export function update(change) {
  Object.assign(state, change);
  for (const listener of listeners) listener(state);
}

/** The stored intervals and new ones after them. */
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

/** Drift statistic of the detector nearest to an alarm as a share of its threshold, 0 to 1. */
export function evidence(row) {
  if (!row || row.drift_statistic === null || !(row.threshold > 0)) return 0;
  return Math.min(1, Math.max(0, row.drift_statistic / row.threshold));
}

/** Select a region; none if it was selected already. */
export function choose(regionId) {
  update({ region: state.region === regionId ? null : regionId });
  link();
}

/** Open the details of an edit; close them if they were open. */
export function open(editId) {
  update({ edit: state.edit === editId ? null : editId });
  link();
}

/** Write the selection into the address, so that it can be shared. */
function link() {
  const chosen = new URLSearchParams();
  if (state.region !== null) chosen.set("region", state.region);
  if (state.edit !== null) chosen.set("edit", state.edit);
  history.replaceState(null, "", `#${chosen}`);
}

/** Selection in the address. */
export function linked() {
  const given = new URLSearchParams(location.hash.slice(1));
  const region = Number(given.get("region") || NaN);
  return { region: Number.isInteger(region) ? region : null, edit: given.get("edit"), user: given.get("user") };
}
