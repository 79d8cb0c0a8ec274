/** Numbers, times and sizes, written for people. An absent figure is a dash, never a zero. */

export const ABSENT = "–";

const grouped = new Intl.NumberFormat("en");
const clockForm = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dateForm = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

const absent = (value) => !Number.isFinite(value);

/** Writes a number with three significant digits, or all digits of a whole number. */
function digits(value) {
  if (Number.isInteger(value) || value >= 99.95) return grouped.format(Math.round(value));
  if (value >= 9.995) return value.toFixed(1);
  return value >= 0.005 ? value.toFixed(2) : "0";
}

/** Writes a value in the first unit whose bound is above it. Returns `[figure, unit]`. */
function scaled(value, units) {
  const [, unit, size] = units.find(([bound]) => Math.abs(value) < bound);
  return [digits(value / size), unit];
}

const COUNTS = [
  [99_999.5, "", 1],
  [999_500, "k", 1e3],
  [999.5e6, "M", 1e6],
  [Infinity, "G", 1e9],
];
const TIMES = [
  [999.5, "ms", 1],
  [59_950, "s", 1e3],
  [Infinity, "min", 6e4],
];
const SIZES = [
  [1023.5, "B", 1],
  [1023.5 * 1024, "KiB", 1024],
  [1023.5 * 1024 ** 2, "MiB", 1024 ** 2],
  [Infinity, "GiB", 1024 ** 3],
];

/** Functions that return `[figure, unit]`, so that the unit can be shown in smaller letters. */
export const parts = {
  count: (value) => (absent(value) ? [ABSENT, ""] : scaled(value, COUNTS)),
  ms: (value) => (absent(value) ? [ABSENT, ""] : scaled(value, TIMES)),
  bytes: (value) => (absent(value) ? [ABSENT, ""] : scaled(value, SIZES)),
  percent: (value) =>
    absent(value) ? [ABSENT, ""] : [value > 0 && value < 0.01 ? "<1" : digits(Math.round(value * 100)), "%"],
};

const joined = (form) => (value) => form(value).filter(Boolean).join("\u202f");
export const count = joined(parts.count);
export const ms = joined(parts.ms);
export const bytes = joined(parts.bytes);
export const percent = joined(parts.percent);
/** Writes a number with all its digits. */
export const exact = (value) => (absent(value) ? ABSENT : grouped.format(value));

/** Writes a length of time in its two largest units. */
export function duration(value) {
  if (absent(value)) return ABSENT;
  const seconds = Math.max(0, Math.round(value / 1000));
  const units = [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const first = Math.max(
    0,
    units.findIndex(([, size]) => seconds >= size),
  );
  if (seconds < 60) return `${seconds}\u202fs`;
  const [[large, size], [small, part]] = units.slice(first, first + 2);
  const rest = Math.floor((seconds % size) / part);
  return `${Math.floor(seconds / size)}\u202f${large}${rest ? ` ${rest}\u202f${small}` : ""}`;
}

/** Writes a length of time in one unit, for columns. */
export function brief(value) {
  if (absent(value)) return ABSENT;
  const units = [
    [59.5e3, "s", 1e3],
    [59.5 * 6e4, "min", 6e4],
    [23.95 * 36e5, "h", 36e5],
    [Infinity, "d", 864e5],
  ];
  const [, unit, size] = units.find(([bound]) => value < bound);
  const figure = Math.max(0, value / size);
  return `${unit.length > 1 || unit === "s" || figure >= 10 ? Math.round(figure) : figure.toFixed(1)}\u202f${unit}`;
}

export const clock = (at) => clockForm.format(at);
export const date = (at) => dateForm.format(at);

const TIME = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/;

/** Writes the value of a field of the API. The end of its name is its unit. */
export function value(name, content) {
  if (content === null || content === undefined || content === "") return ABSENT;
  if (typeof content === "boolean") return content ? "yes" : "no";
  if (typeof content === "string" && TIME.test(content)) return date(new Date(content));
  if (typeof content !== "number") return String(content);
  if (name === "id" || name === "pid") return String(content);
  if (name.endsWith("at_ms")) return date(content);
  if (name.endsWith("_ms")) return content < 60_000 ? ms(content) : duration(content);
  if (/(^|_)bytes(_|$)/.test(name)) return bytes(content);
  if (name.endsWith("_per_second")) return `${count(content)}\u202f/\u202fs`;
  return Number.isInteger(content) ? exact(content) : count(content);
}

/** Writes the name of a field of the API in words: `round_trip_ms` is "round trip". */
export const words = (name) => name.replace(/_(ms|bytes|per_second)$/, "").replaceAll("_", " ");
