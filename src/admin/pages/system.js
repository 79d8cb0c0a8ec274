/** The workers of the server, the memory and the files of its process, and MAX. */
import { $, cloned, figure, foreign, list, make, part, share, text } from "./dom.js";
import { bytes, count, ms, parts, percent } from "./format.js";
import { Plot } from "./plot.js";

/** The part from which on a bar is red. */
const NEAR = 0.9;

/** Draws a line with a bar for the used part. */
function meter(element, used, words) {
  share(part(element, "bar"), used);
  element.classList.toggle("near", used >= NEAR);
  text(part(element, "said"), words);
}

function newMeter(name) {
  const element = cloned("meter");
  text(part(element, "name"), name);
  return element;
}

const of = (used, all, form) => [used / all, `${form(used)} of ${form(all)}`];

const plots = new Map();

function newWorker({ worker }) {
  const element = newMeter(worker);
  const place = make("div", { className: "worker-plot" });
  part(element, "bar").before(place);
  plots.set(worker, new Plot(place, [{ name: `worker.${worker}.busy`, look: "first", area: true }], { bucket: 5 }));
  return element;
}

export function drawWorkers({ workers = [] }, history) {
  list($("workers"), workers, "worker", newWorker, (element, { worker, busy, lag_p99_ms: lag }) => {
    meter(element, busy, `${percent(busy)} busy, lag ${ms(lag)}`);
    plots.get(worker).draw(history);
  });
  $("no-workers").hidden = workers.length > 0;
}

export function drawProcess({ status = {} }) {
  const { resident_bytes: resident, connections, machine, limits } = status;
  const meters = [
    ["memory", ...of(resident, limits?.memory_bytes ?? machine?.memory_bytes, bytes)],
    ["connections", ...of(connections, limits?.connections, count)],
    ["files", ...of(connections, limits?.files, count)],
  ];
  const create = ([name]) => newMeter(name);
  list($("process"), meters, 0, create, (element, [, used, words]) => meter(element, used, words));
}

export function drawMax({ max }) {
  const { inflight, limit, inflight_max: most, waiting, waiting_max: places } = max ?? {};
  const [used, words] = of(inflight, limit ?? most, count);
  meter($("max-calls"), used, limit < most ? `${words}, at most ${count(most)}` : words);
  meter($("max-waiting"), ...of(waiting, places, count));
  figure($("max-rate"), parts.count(max?.calls_per_second));
  figure($("max-p50"), parts.ms(max?.p50_ms));
  figure($("max-p99"), parts.ms(max?.p99_ms));
  const errors = Object.entries(max?.errors ?? {});
  const create = () => make("li", {}, make("span"), make("b"));
  list($("max-errors"), errors, 0, create, (element, [code, rate]) => {
    foreign(element.firstElementChild, code);
    text(element.lastElementChild, `${count(rate)} / s`);
  });
  $("no-errors").hidden = !max || errors.length > 0;
}
