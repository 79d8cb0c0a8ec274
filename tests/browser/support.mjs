// What the tests in a real browser have in common: the browser, the count of what was checked, and an inbox.

import { chromium } from "playwright-core";

/** Everything here is waited for by event; this only ends a wait for what will never come. */
export const PATIENCE_MS = 60_000;

/** Starts the Chromium that CHROMIUM names, or else Debian's. */
export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
    ],
  });

let [passed, failed] = [0, 0];

/** Runs one test, and says and counts how it went. */
export async function check(name, test) {
  const error = await errorOf(test);
  report(name, error);
  return error === undefined;
}

/** What this test fails with: `undefined` if it does not. */
export async function errorOf(test) {
  try {
    await test();
  } catch (error) {
    return error ?? new Error("it threw nothing");
  }
}

/** Says and counts how a test went, which failed if there is an error. */
export function report(name, error) {
  if (error === undefined) {
    passed += 1;
    console.log(`ok      ${name}`);
  } else {
    failed += 1;
    console.log(`FAILED  ${name}\n        ${String(error.stack ?? error).replaceAll("\n", "\n        ")}`);
  }
}

/** Says the sum, and ends the process with it. Node 20 may spin for ever when it frees what is left at its own end. */
export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

/** The events that somebody heard, in order, and how to wait for one of them. */
export class Inbox {
  #owner;
  #events = [];
  #waiting = [];

  constructor(owner) {
    this.#owner = owner;
  }

  heard(event, data) {
    const index = this.#waiting.findIndex(({ wanted }) => wanted({ event, data }));
    if (index < 0) this.#events.push({ event, data });
    else this.#waiting.splice(index, 1)[0].take(data);
  }

  /** The data of the first event of this name, of those heard or of those to come. It is taken out. */
  next(name) {
    const wanted = ({ event }) => event === name;
    const index = this.#events.findIndex(wanted);
    if (index >= 0) return Promise.resolve(this.#events.splice(index, 1)[0].data);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        const instead = JSON.stringify(this.#events.slice(-20));
        reject(new Error(`${this.#owner} waits for ${name} in vain, after ${PATIENCE_MS} ms; it heard ${instead}`));
      }, PATIENCE_MS);
      const take = (data) => {
        clearTimeout(late);
        resolve(data);
      };
      this.#waiting.push({ wanted, take });
    });
  }

  /** The data of all events of this name that were heard and not yet taken. */
  all(name) {
    return this.#events.filter(({ event }) => event === name).map(({ data }) => data);
  }
}
