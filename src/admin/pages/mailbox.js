/** The panel of one class of actor. It shows the mailbox over time, and its limit as a line that can be moved. */
import { attribute, cloned, figure, foreign, list, make, part, text } from "./dom.js";
import { count, exact, ms, parts, percent } from "./format.js";
import { Proposal } from "./limits.js";
import { decades, linear, log, Plot, roundUp } from "./plot.js";

/** The part of the limit from which on a mailbox is nearly full. */
const NEAR = 0.8;
/** The top of the plot, in multiples of the limit: room to drag it up. */
const ROOM = 4;
const NUMERAL = /^\d[\d\s.,'\u202f]*$/;

/** Rounds a limit to a power of two if one is close, otherwise to two significant digits. */
function nice(value) {
  const power = 2 ** Math.round(Math.log2(value));
  if (Math.abs(power / value - 1) < 0.05) return power;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return Math.max(1, Math.round(value / unit) * unit);
}

/** Returns the limit after a key. `undefined` if the key has no meaning here. */
function turned(key, value, top) {
  const step = Math.max(1, Math.round(value / 20));
  const moves = { ArrowUp: value + step, ArrowRight: value + step, ArrowDown: value - step, ArrowLeft: value - step };
  const jumps = { PageUp: value * 2, PageDown: Math.round(value / 2), Home: 1, End: Math.round(top) };
  const to = { ...moves, ...jumps }[key];
  return to === undefined ? undefined : Math.min(Math.max(1, to), Math.max(value, Math.round(top)));
}

export class MailboxPanel {
  element = cloned("mailbox");
  #actor;
  #proposal;
  #plots;
  #box;
  #history;
  /** The proposed limit. `undefined` if none is proposed. */
  #wanted;
  /** Whether the line is dragged. Meanwhile the scale stands still. */
  #dragged = false;

  constructor(actor, settings) {
    this.#actor = actor;
    this.#proposal = new Proposal(settings);
    this.#proposal.addEventListener("end", ({ detail }) => {
      this.#turn(undefined);
      if (detail.hadFocus) part(this.element, "slider").focus();
    });
    // The next overview contains the new limit, but it comes up to a second later.
    this.#proposal.addEventListener("set", ({ detail }) => {
      this.#box = { ...this.#box, capacity: detail, source: "admin" };
      this.#wanted = undefined;
      this.#drawLimit();
    });
    this.element.append(this.#proposal.element);
    this.element.dataset.actor = actor;
    this.#plots = this.#makePlots();
    text(part(this.element, "actor"), actor);
    part(this.element, "slider").setAttribute("aria-label", `Limit of ${actor} mailboxes`);
    part(this.element, "limit").setAttribute("aria-label", `Limit of ${actor} mailboxes`);
    this.#listen();
  }

  draw(box, history, back) {
    if (this.#box?.capacity !== box.capacity) this.#plots[0].renew();
    [this.#box, this.#history] = [box, history];
    if (this.#wanted === box.capacity) this.#turn(undefined);
    if (!this.#dragged) for (const plot of this.#plots) plot.draw(history);
    this.#drawLimit();
    this.#drawFigures(box);
    this.drawMoment(history, back);
  }

  /** Draws the figures of a moment, `back` steps before now. */
  drawMoment(history, back) {
    const at = (name) => history.at(`mailbox.${this.#actor}.${name}`, back);
    const share = at("peak") / this.#box.capacity;
    figure(part(this.element, "peak"), parts.count(at("peak")));
    text(part(this.element, "share"), `${percent(share)} of limit`);
    figure(part(this.element, "wait"), parts.ms(at("wait_p99_ms")));
    figure(part(this.element, "refused"), parts.count(at("refused")));
    text(part(this.element, "messages"), count(at("messages")));
    this.element.classList.toggle("near", share >= NEAR);
    this.element.classList.toggle("refuses", at("refused") > 0);
  }

  #makePlots() {
    const series = (name, look, area) => ({ name: `mailbox.${this.#actor}.${name}`, look, area });
    const room = () => Math.max(8, ROOM * (this.#box?.capacity ?? 1));
    return [
      new Plot(part(this.element, "depth"), [series("messages", "second"), series("peak", "first", true)], {
        scale: (low, top) => log(Math.max(room(), 1.3 * top)),
        ticks: (scale) => decades(scale, 0.13),
        label: count,
      }),
      new Plot(part(this.element, "waits"), [series("wait_p99_ms", "wait", true)], {
        scale: (low, top) => log(Math.max(10, roundUp(top || 1)), 0.1),
        ticks: (scale) => decades(scale, 0.31),
        label: ms,
      }),
      new Plot(part(this.element, "refusals"), [series("refused", "bad", true)], {
        scale: (low, top) => linear(top || 1),
      }),
    ];
  }

  #listen() {
    const slider = part(this.element, "slider");
    const input = part(this.element, "limit");
    slider.addEventListener("keydown", (event) => this.#key(event));
    slider.addEventListener("pointerdown", (event) => this.#drag(event));
    input.addEventListener("input", () => {
      const typed = NUMERAL.test(input.value) ? Number(input.value.replace(/\D/g, "")) : undefined;
      attribute(input, "aria-invalid", typed === undefined);
      this.#turn(typed);
    });
    input.addEventListener("keydown", ({ key }) => {
      if (key === "Enter" && this.#proposal.pending) this.#proposal.focus();
      if (key !== "Escape") return;
      this.#proposal.end();
      input.blur();
    });
    input.addEventListener("blur", () => this.#drawLimit());
  }

  #key(event) {
    if (!this.#box) return;
    if (event.key === "Enter" && this.#proposal.pending) this.#proposal.focus();
    else if (event.key === "Escape" && this.#wanted !== undefined) this.#proposal.end();
    else {
      const to = turned(event.key, this.#wanted ?? this.#box.capacity, this.#plots[0].scale.top);
      if (to === undefined) return;
      this.#turn(to);
    }
    event.preventDefault();
  }

  #drag(event) {
    if (!this.#box || event.button !== 0) return;
    const slider = event.currentTarget;
    const { bottom, height } = part(this.element, "depth").getBoundingClientRect();
    const { scale } = this.#plots[0];
    // The distance between line and pointer: the line does not jump to the pointer.
    const held = (bottom - event.clientY) / height - scale.part(this.#wanted ?? this.#box.capacity);
    const ending = new AbortController();
    const { signal } = ending;
    const move = ({ clientY }) => {
      const at = Math.min(1, Math.max(0, (bottom - clientY) / height - held));
      this.#turn(Math.max(1, nice(scale.value(at))));
    };
    const end = ({ type }) => {
      ending.abort();
      this.#dragged = false;
      if (type === "pointercancel") this.#proposal.end();
    };
    this.#dragged = true;
    slider.setPointerCapture(event.pointerId);
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
      slider.addEventListener(type, end, { signal });
    slider.addEventListener("pointermove", move, { signal });
    slider.focus();
    event.preventDefault();
  }

  /** Proposes this limit; `undefined` is the present one. */
  #turn(to) {
    const { capacity: from, setting: key } = this.#box;
    this.#wanted = to === from ? undefined : to;
    if (this.#wanted !== undefined) this.#proposal.propose({ key, from, to, note: this.#consequence(to) });
    else if (this.#proposal.pending) this.#proposal.element.hidden = true;
    this.#drawLimit();
  }

  /** Says what a limit would mean, by the last fifteen minutes. */
  #consequence(to) {
    const highest = this.#history.range(`mailbox.${this.#actor}.peak`)[1];
    const peak = `the highest peak of 15 min, ${exact(highest)}`;
    const sentences = [];
    if (highest > to) sentences.push(`Below ${peak}: messages would have been refused.`);
    else if (highest > 0) sentences.push(`${count(Math.floor((10 * to) / highest) / 10)} times ${peak}.`);
    const handling = this.#box.handle_p50_ms;
    if (handling > 0) sentences.push(`A full mailbox takes at least ${ms(to * handling)} to work off.`);
    if (to < this.#box.messages && to < this.#box.peak) sentences.push("Messages that wait already are kept.");
    return sentences.join(" ");
  }

  #drawLimit() {
    const { capacity, setting, source } = this.#box;
    const [slider, input, past] = ["slider", "limit", "past"].map((name) => part(this.element, name));
    const { scale } = this.#plots[0];
    const shown = this.#wanted ?? capacity;
    const place = (value) => `${100 * Math.min(1, scale.part(value))}%`;
    if (typeof capacity === "number") [slider.style.bottom, past.style.bottom] = [place(shown), place(capacity)];
    slider.hidden = typeof capacity !== "number";
    past.hidden = this.#wanted === undefined;
    text(part(this.element, "mark"), count(shown));
    const most = Math.round(Math.max(scale.top, shown));
    const range = {
      valuemin: 1,
      valuemax: most,
      valuenow: shown,
      valuetext: `${exact(shown)} messages`,
    };
    for (const [name, content] of Object.entries(range)) attribute(slider, `aria-${name}`, content);
    // Nobody writes over text that is being typed.
    if (document.activeElement !== input) input.value = exact(shown);
    text(part(this.element, "setting"), setting ?? "");
    foreign(part(this.element, "source"), source ?? "");
  }

  #drawFigures(box) {
    const { living, started, stopped, panicked } = box.actors ?? {};
    part(this.element, "actors").hidden = !box.actors;
    figure(part(this.element, "handling"), parts.ms(box.handle_p99_ms));
    const figures = {
      wait50: `p50 ${ms(box.wait_p50_ms)}`,
      handling50: `p50 ${ms(box.handle_p50_ms)}`,
      // The gate in front of MAX has no actors that could be gone.
      shut: box.actors ? `closed ${count(box.refused_closed_per_second)}` : `late ${count(box.given_up_late_per_second)}`,
      living: count(living),
      started: count(started),
      stopped: count(stopped),
      panicked: count(panicked),
    };
    for (const [name, content] of Object.entries(figures)) text(part(this.element, name), content);
    part(this.element, "panicked").classList.toggle("bad", panicked > 0);
    list(part(this.element, "kinds"), box.kinds ?? [], "message", kindRow, fillKind);
  }
}

const kindRow = () => make("tr", {}, make("th", { scope: "row" }), ...Array.from({ length: 4 }, () => make("td")));

function fillKind({ cells }, kind) {
  foreign(cells[0], kind.message);
  text(cells[1], count(kind.offered_per_second));
  text(cells[2], count(kind.refused_full_per_second));
  cells[2].classList.toggle("bad", kind.refused_full_per_second > 0);
  text(cells[3], ms(kind.wait_p99_ms));
  text(cells[4], ms(kind.handle_p99_ms));
}
