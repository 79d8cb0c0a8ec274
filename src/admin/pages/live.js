/** The connection to the server: the WebSocket that brings the figures, and the calls of the API. */

/** A server that sends no frame for this time is overloaded, and after the longer time the connection is given up. */
const STALLED_MS = 3000;
const LOST_MS = 15_000;
const RETRY_MS = [500, 10_000];
const CALL_MS = 10_000;
/** The close code that asks for a key. */
const KEY_NEEDED = 4401;
const STORED = "maxtalk-admin-key";

/** A refusal of the server, with its message. */
export class Refused extends Error {
  constructor(status, { code = "", message } = {}) {
    super(message || `The server answers ${status}.`);
    this.status = status;
    this.code = code;
  }
}

const base = new URL(".", location.href);
const tokenElement = document.querySelector("meta[name=maxtalk-dashboard]");
let token = tokenElement.content;

/** Reads the token of this page again. A restarted server has another one. */
export async function renewToken() {
  // The server gives the page only to those that ask for HTML by its name.
  const page = await (await fetch(base, { cache: "no-store", headers: { Accept: "text/html" } })).text();
  token = /<meta name="maxtalk-dashboard" content="([^"<>&]*)">/.exec(page)?.[1] ?? token;
}

/**
 * The live connection. Its events are `history`, `overview` and `state`. The state is `connecting`, `live`, `stalled`
 * (open, but silent), `offline` (see `retryAt`) or `key` (the server asks for a key, see `keyRefused`).
 */
export class Live extends EventTarget {
  state = "connecting";
  retryAt = 0;
  /** The time of the newest figures, by `performance.now()`. `undefined` before the first ones. */
  heardAt;
  keyRefused = false;
  #socket;
  #attempts = 0;
  #retry;
  #watch;

  constructor() {
    super();
    addEventListener("online", () => this.state === "offline" && this.connect());
  }

  connect() {
    clearTimeout(this.#retry);
    this.#forget();
    this.#watch = setTimeout(() => this.#lost(), LOST_MS);
    const address = new URL("api/v1/live", base);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.#socket = new WebSocket(address));
    const mine = (heard) => (event) => socket === this.#socket && heard(event);
    socket.onopen = mine(() => {
      const key = sessionStorage.getItem(STORED);
      socket.send(JSON.stringify(key === null ? {} : { key }));
      this.#expect();
    });
    socket.onmessage = mine(({ data }) => this.#frame(JSON.parse(data)));
    socket.onclose = mine(({ code }) => (code === KEY_NEEDED ? this.#locked() : this.#lost()));
  }

  /** Keeps the key until this tab is closed, and connects with it. */
  unlock(key) {
    sessionStorage.setItem(STORED, key);
    this.connect();
  }

  /** Calls the API and returns its answer. Throws `Refused`, or another error if no answer comes. */
  async call(method, path, body) {
    const headers = {};
    const key = sessionStorage.getItem(STORED);
    if (key !== null) headers.Authorization = `Bearer ${key}`;
    if (method !== "GET") Object.assign(headers, { "Content-Type": "application/json", "X-Maxtalk-Dashboard": token });
    const signal = AbortSignal.timeout(CALL_MS);
    const answer = await fetch(new URL(`api/v1/${path}`, base), {
      method,
      headers,
      signal,
      body: body && JSON.stringify(body),
    });
    const content = await answer.json().catch(() => undefined);
    if (answer.status === 401) this.#locked();
    if (!answer.ok) throw new Refused(answer.status, content?.error);
    return content;
  }

  #frame({ history, overview }) {
    this.#attempts = 0;
    this.keyRefused = false;
    this.heardAt = performance.now();
    if (history) this.dispatchEvent(new CustomEvent("history", { detail: history }));
    if (overview) this.dispatchEvent(new CustomEvent("overview", { detail: overview }));
    this.#become("live");
    this.#expect();
  }

  /** Waits for the next frame. */
  #expect() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.#become("stalled");
      this.#watch = setTimeout(() => this.#lost(), LOST_MS - STALLED_MS);
    }, STALLED_MS);
  }

  #forget() {
    clearTimeout(this.#watch);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  /** Doubles the wait with each attempt. A part of it is random, so that many pages do not come back at once. */
  #lost() {
    this.#forget();
    const [first, most] = RETRY_MS;
    const wait = Math.min(most, first * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.retryAt = performance.now() + wait;
    this.#retry = setTimeout(() => this.connect(), wait);
    this.#become("offline");
  }

  #locked() {
    this.#forget();
    clearTimeout(this.#retry);
    this.keyRefused = sessionStorage.getItem(STORED) !== null;
    sessionStorage.removeItem(STORED);
    this.#become("key");
  }

  #become(state) {
    const changed = state !== this.state || state !== "live";
    this.state = state;
    if (changed) this.dispatchEvent(new Event("state"));
  }
}
