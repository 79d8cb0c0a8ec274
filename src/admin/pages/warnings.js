/** The warnings of the server. A warning that is over stays for a while, so that the list does not flicker. */
import { $, cloned, foreign, list, part, text } from "./dom.js";

const KEPT_MS = 10_000;
const RANKS = { critical: 0 };

/** The last form of each warning, and its time, by id. */
const known = new Map();
let announced = "";

export function drawWarnings({ warnings = [] }) {
  const now = performance.now();
  for (const warning of warnings) known.set(warning.id, { ...warning, toldAt: now });
  for (const [id, { toldAt }] of known) if (now - toldAt > KEPT_MS) known.delete(id);
  const shown = [...known.values()].sort((a, b) => (RANKS[a.level] ?? 1) - (RANKS[b.level] ?? 1));
  list(
    $("warnings"),
    shown,
    "id",
    () => cloned("warning"),
    (element, { level, toldAt, ...words }) => {
      const isOver = toldAt < now;
      Object.assign(element.dataset, { level });
      element.classList.toggle("over", isOver);
      text(part(element, "level"), isOver ? "over" : level);
      foreign(part(element, "text"), words.text);
      foreign(part(element, "advice"), words.advice);
    },
  );
  $("no-warnings").hidden = shown.length > 0;
  announce(warnings);
}

/** Lets a screen reader read a new warning once, and not again with each new figure in it. */
function announce(warnings) {
  const ids = warnings.map(({ id }) => id).join();
  if (ids !== announced) text($("announced"), warnings.map((warning) => warning.text).join(" "));
  announced = ids;
}
