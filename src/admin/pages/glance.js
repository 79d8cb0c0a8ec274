/** The tiles at the top: the eight figures of a server, each with its last fifteen minutes. */
import { $, cloned, figure, part, text } from "./dom.js";
import { ABSENT, count, ms, parts } from "./format.js";
import { linear, Plot, roundUp } from "./plot.js";

const ratio = (a, b) => (b > 0 && a >= 0 ? a / b : undefined);
const within = (name) => (overview, history) => `${count(Math.round(history.sum(name)))} in 15 min`;

/** Scales: a level is drawn between its lowest and its highest value, a rate above zero. */
const levels = (low, top) => (low < top ? { ...linear(top, low), ticks: [low, top] } : linear(2 * top || 1));
const rates = (low, top) => (top > 0 ? { ...linear(roundUp(top)), ticks: [roundUp(top)] } : linear(1));

/** `name` is the name of a series, `below` writes the line below the figure, `look` is the colour of a loss. */
const TILES = [
  { name: "sessions", level: true, below: ({ status }) => `${count(status?.connections)} connections` },
  {
    name: "conversations",
    level: true,
    below: ({ status }) => `${count(ratio(status?.sessions, status?.conversations))} sessions each`,
  },
  { name: "talks", label: "talks / s", below: within("talks") },
  {
    name: "deliveries",
    label: "deliveries / s",
    below: ({ rates }) => `${count(ratio(rates?.deliveries, rates?.talks))} per talk`,
  },
  {
    name: "delivery_p99_ms",
    label: "delivery p99",
    unit: "ms",
    below: ({ rates }) => `p50 ${ms(rates?.delivery_p50_ms)}`,
  },
  { name: "refused", label: "refused / s", look: "bad", below: within("refused") },
  {
    name: "folded",
    label: "folded / s",
    look: "warn",
    below: (overview, history) => {
      const { dropped } = overview.rates ?? {};
      return within("folded")(overview, history) + (dropped > 0 ? `, dropped ${count(dropped)} / s` : "");
    },
  },
  { name: "closed_as_slow", label: "closed as slow / s", look: "bad", below: within("closed_as_slow") },
];

function tile({ name, label = name, level, unit = "count", look, below }) {
  const element = cloned("tile");
  element.dataset.tile = name;
  text(part(element, "label"), label);
  figure(part(element, "value"), [ABSENT, ""]);
  $("glance").append(element);
  const plot = new Plot(part(element, "plot"), [{ name, look: look ?? "first", area: !level }], {
    bucket: 5,
    scale: level ? levels : rates,
    ticks: ({ ticks = [] }) => ticks,
    label: unit === "ms" ? ms : count,
  });
  return {
    draw(overview, history) {
      plot.draw(history);
      text(part(element, "below"), below(overview, history));
    },
    drawMoment(history, back) {
      const value = history.at(name, back);
      figure(part(element, "value"), parts[unit](value));
      if (look) element.classList.toggle(look, value > 0);
    },
  };
}

const tiles = TILES.map(tile);

export function drawGlance(overview, history) {
  for (const tile of tiles) tile.draw(overview, history);
}

/** Draws the figures of a moment, `back` steps before now. */
export function drawGlanceMoment(history, back) {
  for (const tile of tiles) tile.drawMoment(history, back);
}
