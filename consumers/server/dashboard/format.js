// Text for numbers, times and edits.

const whole = new Intl.NumberFormat("en");
const short = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const number = (value, digits = 2) =>
  value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
/** Number with fewer digits the larger it is, so that differences remain visible. */
export const score = (value) => number(value, Math.abs(value) < 10 ? 3 : 1);
export const percent = (value) =>
  value === null || value === undefined ? "–" : value > 0 && value < 0.01 ? "<1%" : `${Math.round(value * 100)}%`;
export const moment = (seconds) => (seconds > 0 ? `${short.format(seconds * 1000)} UTC` : "");
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Status of an edit, in one word. */
export const verdict = (edit) =>
  edit.published === null ? "pending" : edit.published ? "published" : "rejected";

/** The regions of an edit, as text. */
export const named = (edit) => {
  const ids = regionsOf(edit);
  return `${ids.length > 1 ? "regions" : "region"} ${ids.join(" and ")}`;
};

/** Ids of the regions of an edit. */
export const regionsOf = (edit) => [edit.region_id, edit.other_region_id].filter((id) => id !== null);
