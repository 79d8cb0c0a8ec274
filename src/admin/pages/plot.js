/**
 * Plots of the last fifteen minutes, as SVG paths. The picture is stretched to its element, so that drawing never asks
 * for a layout.
 */
import { LENGTH } from "./history.js";
import { make, makeSvg, text } from "./dom.js";

const HEIGHT = 1000;

/** Scales. `part` maps a value to a part of the height. A log scale is nearly linear below `unit`. */
export const linear = (top, low = 0) => ({ top, low, part: (value) => (value - low) / (top - low) });
export const log = (top, unit = 1) => {
  const all = Math.log1p(top / unit);
  return {
    top,
    low: 0,
    part: (value) => Math.log1p(value / unit) / all,
    value: (part) => unit * Math.expm1(part * all),
  };
};

/** Rounds up to 1, 2 or 5 with zeros: such a top rarely moves. */
export function roundUp(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return decade * [1, 2, 5, 10].find((step) => step * decade >= value * 0.9999);
}

/** Returns the powers of ten for a log scale: all, or every second one if they are closer than `apart`. */
export function decades({ top, part }, apart) {
  const step = part(top) - part(top / 10) < apart ? 100 : 10;
  const ticks = [];
  for (let tick = 1; part(tick) < 0.94; tick *= step) if (part(tick) >= apart / 2) ticks.push(tick);
  return ticks;
}

/**
 * Returns the path of a series, and the path of the area below it. A point is the highest of `bucket` steps, so that no
 * peak is lost. Buckets begin at fixed steps, so that the curve keeps its form while it moves.
 */
function trace({ ring, first }, last, bucket, scale) {
  let line = "";
  let area = "";
  let open = false;
  let most = NaN;
  let x = 0;
  for (let index = 0; index < LENGTH; index += 1) {
    const value = ring[(first + index) % LENGTH];
    if (value === value && !(value <= most)) most = value;
    if ((last + 2 + index) % bucket && index < LENGTH - 1) continue;
    if (most === most) {
      const y = Math.round(HEIGHT * (1 - Math.min(1, Math.max(0, scale.part(most)))));
      line += open ? `L${index} ${y}` : `M${index} ${y}h1`;
      area += open ? `L${index} ${y}` : `M${index} ${HEIGHT}V${y}`;
      [open, x] = [true, index];
    } else if (open) {
      area += `H${x}V${HEIGHT}Z`;
      open = false;
    }
    most = NaN;
  }
  return { line, area: open ? `${area}V${HEIGHT}Z` : area };
}

export class Plot {
  /** The scale of the last drawing. */
  scale = linear(1);
  #series;
  #options;
  #paths;
  #axis;
  #shown = true;
  #ticks = "";
  #drawn = "";

  /**
   * `series` are `{name, look, area}`. `scale` makes a scale from the lowest and the highest value, `ticks` returns the
   * values to write at its side, and `label` writes one of them.
   */
  constructor(element, series, options) {
    this.#series = series;
    this.#options = { bucket: 2, scale: () => linear(1), ticks: () => [], label: String, ...options };
    const paths = () => makeSvg("path", { "vector-effect": "non-scaling-stroke" });
    this.#paths = series.map(({ look, area }) => {
      const [line, below] = [paths(), area ? paths() : undefined];
      line.setAttribute("class", `line ${look}`);
      below?.setAttribute("class", `area ${look}`);
      return { line, below };
    });
    const drawn = this.#paths.flatMap(({ line, below }) => (below ? [below, line] : [line]));
    const box = { viewBox: `0 0 ${LENGTH - 1} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
    this.#axis = make("div", { className: "axis", ariaHidden: "true" });
    element.prepend(this.#axis, makeSvg("svg", box, ...drawn));
    element.classList.add("plot");
    new IntersectionObserver(([{ isIntersecting }]) => (this.#shown = isIntersecting)).observe(element);
  }

  /** Makes the next `draw` draw in any case. */
  renew() {
    this.#drawn = "";
  }

  /** Draws if a bucket has ended, or if there is another history. */
  draw(history) {
    const { scale, bucket } = this.#options;
    const state = `${Math.floor((history.last + 1) / bucket)}:${history.version}`;
    if (!this.#shown || state === this.#drawn) return;
    this.#drawn = state;
    const ranges = this.#series.map(({ name }) => history.range(name)).filter(([low]) => low === low);
    const [lows, tops] = [ranges.map(([low]) => low), ranges.map(([, top]) => top)];
    this.scale = scale(Math.min(...lows), Math.max(0, ...tops));
    this.#label();
    this.#series.forEach(({ name }, index) => {
      const values = history.of(name);
      const { line, area } = values ? trace(values, history.last, bucket, this.scale) : { line: "", area: "" };
      this.#paths[index].line.setAttribute("d", line);
      this.#paths[index].below?.setAttribute("d", area);
    });
  }

  #label() {
    const { ticks, label } = this.#options;
    const wanted = ticks(this.scale);
    const now = `${this.scale.top}:${this.scale.low}:${wanted}`;
    if (now === this.#ticks) return;
    this.#ticks = now;
    const marks = wanted.map((tick) => {
      const mark = make("span");
      text(mark, label(tick));
      mark.style.bottom = `${100 * this.scale.part(tick)}%`;
      return mark;
    });
    this.#axis.replaceChildren(...marks);
  }
}

/** The moment that the pointer is at, for all plots: `back` steps before now. */
export class Cursor extends EventTarget {
  back = 0;

  constructor(root) {
    super();
    root.addEventListener("pointermove", ({ target, clientX, buttons }) => {
      const plot = target.closest(".plot");
      // While a button is down, a limit is dragged.
      if (!plot || buttons) return this.#move(root, 0);
      const { left, width } = plot.getBoundingClientRect();
      this.#move(root, Math.round((LENGTH - 1) * Math.min(1, Math.max(0, 1 - (clientX - left) / width))));
    });
    root.addEventListener("pointerleave", () => this.#move(root, 0));
  }

  #move(root, back) {
    if (back === this.back) return;
    this.back = back;
    root.style.setProperty("--moment", 1 - back / (LENGTH - 1));
    root.classList.toggle("past", back > 0);
    this.dispatchEvent(new Event("move"));
  }
}
