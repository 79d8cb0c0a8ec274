/**
 * The last fifteen minutes of every series: one value per step, NaN if there is none. The history that the server sends
 * and the live values go into the same ring. So the next history fills the gap of a lost connection, and the values of
 * a restarted server continue those of the old one.
 */

export const LENGTH = 900;
/** A gap shorter than this number of steps is filled with the next value: the frame was only late. */
const BRIDGED = 3;

export class History {
  stepMs = 1000;
  /** The step of the newest values. */
  last = -Infinity;
  /** The number of histories that the server has sent. */
  version = 0;
  #series = new Map();

  /** Takes the history of the server: `{step_ms, until_ms, series}`. */
  replace({ step_ms: stepMs, until_ms: untilMs, series }) {
    if (!series || !Number.isFinite(untilMs)) return;
    this.version += 1;
    if (stepMs > 0 && stepMs !== this.stepMs) this.#clear((this.stepMs = stepMs));
    this.#advance(Math.floor(untilMs / this.stepMs));
    for (const [name, values] of Object.entries(series)) {
      const ring = this.#ring(name);
      const first = this.last - values.length + 1;
      for (let index = Math.max(0, values.length - LENGTH); index < values.length; index += 1) {
        if (values[index] !== null) ring[(first + index) % LENGTH] = values[index];
      }
    }
  }

  /** Takes the values of one moment: pairs of name and value. */
  add(atMs, values) {
    const step = Math.floor(atMs / this.stepMs);
    const missed = Math.min(Math.max(0, step - this.last - 1), LENGTH);
    const bridged = missed < BRIDGED ? missed : 0;
    this.#advance(step);
    for (const [name, value] of values) {
      const ring = this.#ring(name);
      for (let back = 0; back <= bridged; back += 1) ring[(step - back) % LENGTH] = value ?? NaN;
    }
  }

  /** Returns the ring of a series and the index of its oldest value. `undefined` if there is no such series. */
  of(name) {
    const ring = this.#series.get(name);
    return ring && { ring, first: (this.last + 1) % LENGTH };
  }

  /** Returns the value `back` steps before the newest one. */
  at(name, back) {
    return this.#series.get(name)?.[(this.last - back) % LENGTH] ?? NaN;
  }

  /** Returns the lowest and the highest value, NaN if there is none. */
  range(name) {
    let [low, high] = [NaN, NaN];
    for (const value of this.#series.get(name) ?? []) {
      if (value !== value) continue;
      if (!(value >= low)) low = value;
      if (!(value <= high)) high = value;
    }
    return [low, high];
  }

  /** Returns the sum of a rate over all of its time. */
  sum(name) {
    let sum = 0;
    for (const value of this.#series.get(name) ?? []) sum += value > 0 ? value : 0;
    return (sum * this.stepMs) / 1000;
  }

  #ring(name) {
    let ring = this.#series.get(name);
    if (!ring) this.#series.set(name, (ring = new Float64Array(LENGTH).fill(NaN)));
    return ring;
  }

  /** Moves the ring to this step, and empties the steps between. If the clock has gone back, all is emptied. */
  #advance(step) {
    if (step < this.last - BRIDGED || step - this.last >= LENGTH) this.#clear();
    else
      for (let at = this.last + 1; at <= step; at += 1)
        for (const ring of this.#series.values()) ring[at % LENGTH] = NaN;
    this.last = Math.max(step, this.last);
  }

  #clear() {
    for (const ring of this.#series.values()) ring.fill(NaN);
    this.last = -Infinity;
  }
}

const RATES = ["talks", "deliveries", "delivery_p99_ms", "refused", "folded", "closed_as_slow"];

/** Yields the values of an overview, each with the name of its series. */
export function* seriesOf({ status, rates, mailboxes, workers }) {
  for (const name of ["sessions", "conversations"]) yield [name, status?.[name]];
  for (const name of RATES) yield [name, rates?.[name]];
  for (const box of mailboxes ?? []) {
    for (const name of ["messages", "peak", "wait_p99_ms"]) yield [`mailbox.${box.actor}.${name}`, box[name]];
    yield [`mailbox.${box.actor}.refused`, box.refused_full_per_second];
  }
  for (const { worker, busy } of workers ?? []) yield [`worker.${worker}.busy`, busy];
}
