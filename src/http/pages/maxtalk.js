/**
 * A small client of maxtalk for browsers: Socket.IO 5 over Engine.IO 4 over one WebSocket, nothing else needed.
 *
 *     const maxtalk = new MaxTalk(location.href);
 *     maxtalk.on("state", ({ state }) => …);      // connecting, online, refused, offline, closed
 *     maxtalk.on("update", (news) => …);          // every event of the written protocol by its name
 *     maxtalk.on("frame", ({ sent, text }) => …); // every frame of the WebSocket, as it is
 *     maxtalk.join({ username, token });
 *     const { ok, code, reason } = await maxtalk.emit("talk", { conversation, timestamp, messageID });
 *
 * It answers the server's pings, notices a server that went silent, reconnects with a growing, scattered delay, goes on
 * in the same session if the server has kept it, and joins again by itself. It sends text only, and ignores binary
 * events, of which maxtalk has none.
 */

/** How long a connection may take until the server's open packet, and an event until its ack. */
const PATIENCE_MS = 10_000;
/** How long the server may take to answer while the system says that the network is gone. */
const DOUBT_MS = 2000;
/** The delay before the first reconnection, and the most that doubling may make of it. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 15_000;
/** Refusals of a join that pass: the same join is worth another try. All others need somebody to change something. */
const PASSING = new Set(["busy", "rate_limited", "max_timeout", "max_unavailable", "offline"]);
/** `<type>[<namespace>,][<ack id>][<json>]`, the text of a Socket.IO packet without attachments. */
const PACKET = /^(\d)(?:(\/[^,]*),?)?(\d+)?(.*)$/s;

/** The time of day in milliseconds, with the fraction that `Date.now()` lacks: what a talk carries as `timestamp`. */
export const now = () => performance.timeOrigin + performance.now();

/** One connection to maxtalk, renewed as often as it breaks, and the person who joins over it. */
export class MaxTalk {
  #url;
  #namespace;
  #socket = null;
  #identity = null;
  #listeners = new Map();
  #acks = new Map();
  #ackId = 0;
  #attempts = 0;
  #silenceMs = PATIENCE_MS;
  /** By these the server knows a client that comes back: the secret of its session, and the last event that it heard. */
  #pid;
  #offset;
  #watchdog;
  #retry;

  /** The last state told: `{ state }`, `retryMs` where a next try is due, `code` and `reason` for what went wrong. */
  status = { state: "closed" };

  /** @param {string|URL} base where maxtalk answers; `path` is looked up relative to it */
  constructor(base, { path = "/socket.io/", namespace = "/max" } = {}) {
    this.#url = new URL(`${path.slice(1)}?EIO=4&transport=websocket`, base);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#namespace = namespace;
  }

  /** Calls `listener(data)` for each event `name` of the server, and for `state`. */
  on(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return this;
  }

  /**
   * Joins as `identity` (`{ username, token }`), now and after every reconnection; joining again refreshes. Resolves to
   * the ack where the connection stands; else the join goes out as soon as it does, and `state` tells how it went.
   */
  async join(identity = this.#identity) {
    this.#identity = identity;
    if (this.status.connected) return this.#joinNow();
    if (!this.#socket) this.reconnect();
  }

  /** Sends an event and resolves to its ack, `{ ok, code, reason }`; `code` is `offline` where no answer can come. */
  emit(event, data, patienceMs = PATIENCE_MS) {
    if (!this.status.connected) return Promise.resolve({ ok: false, code: "offline", reason: "not connected" });
    return new Promise((resolve) => {
      const id = ++this.#ackId;
      const settle = (ack) => {
        clearTimeout(timer);
        this.#acks.delete(id);
        resolve(ack ?? { ok: true });
      };
      const timer = setTimeout(settle, patienceMs, { ok: false, code: "offline", reason: "no answer in time" });
      this.#acks.set(id, settle);
      this.#send(2, id + JSON.stringify(data === undefined ? [event] : [event, data]));
    });
  }

  /** Connects at once instead of when the delay is over. */
  reconnect() {
    this.#drop();
    this.#tell({ state: "connecting" });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    // A socket that was given up may still have news to deliver: only the current one is listened to.
    const mine = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onmessage = mine(({ data }) => typeof data === "string" && this.#frame(data));
    socket.onclose = mine(() => this.#lost("the connection broke"));
    this.#silenceMs = PATIENCE_MS;
    this.#watch();
  }

  /**
   * Asks the server whether it is still there, and gives the connection up if no answer comes soon. The system's word
   * that the network is gone is no proof: a server on this machine can still be reached.
   */
  async doubt() {
    const socket = this.#socket;
    if (!socket) return;
    const { code } = this.status.connected ? await this.emit("ask", undefined, DOUBT_MS) : { code: "offline" };
    if (code === "offline" && socket === this.#socket) this.#lost("the server does not answer");
  }

  /** Leaves for good. */
  close() {
    this.#identity = null;
    // A connection that only breaks would leave the person listening until the server has given its session up.
    if (this.status.connected) this.#send(1, "");
    this.#pid = this.#offset = undefined;
    this.#drop();
    this.#tell({ state: "closed" });
  }

  /** One Engine.IO packet. Any of them shows that the server lives. */
  #frame(text) {
    this.#dispatch("frame", { sent: false, text });
    if (text[0] === "0") {
      const { pingInterval, pingTimeout } = JSON.parse(text.slice(1));
      this.#silenceMs = pingInterval + pingTimeout;
      this.#send(0, this.#pid ? JSON.stringify({ pid: this.#pid, offset: this.#offset }) : "");
    }
    this.#watch();
    switch (text[0]) {
      case "1":
        return this.#lost("the server closed the connection");
      case "2":
        return this.#write("3");
      case "4":
        return this.#packet(text.slice(1));
    }
  }

  /** One Socket.IO packet. */
  #packet(text) {
    const [, type, namespace = "/", ackId, json] = PACKET.exec(text) ?? [];
    if (namespace !== this.#namespace) return;
    const data = json ? JSON.parse(json) : undefined;
    switch (type) {
      case "0":
        this.#pid = data?.pid;
        this.#tell({ state: "connecting", connected: true });
        return this.#identity && this.#joinNow();
      case "1":
        this.#drop();
        return this.#tell({ state: "closed", reason: "the server ended the session" });
      case "2":
        if (data.length > 2) this.#offset = data.at(-1);
        return this.#dispatch(data[0], data[1]);
      case "3":
        return this.#acks.get(Number(ackId))?.(data[0]);
      case "4":
        this.#drop();
        return this.#tell({ state: "refused", code: "connect_error", reason: data?.message });
    }
  }

  async #joinNow() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    const ack = await this.emit("join", { ...this.#identity, timestamp: now() });
    // The result of a join that a newer join or a lost connection has replaced is not reported.
    if (socket !== this.#socket || ack.code === "superseded") return ack;
    if (ack.ok) {
      this.#attempts = 0;
      this.#tell({ state: "online", connected: true });
    } else {
      const retryMs = PASSING.has(ack.code) ? this.#delay() : undefined;
      if (retryMs) this.#retry = setTimeout(() => this.#joinNow(), retryMs);
      this.#tell({ state: "refused", connected: true, retryMs, code: ack.code, reason: ack.reason });
    }
    return ack;
  }

  #send(type, rest) {
    const namespace = this.#namespace === "/" ? "" : `${this.#namespace},`;
    this.#write(`4${type}${namespace}${rest}`);
  }

  #write(text) {
    this.#socket.send(text);
    this.#dispatch("frame", { sent: true, text });
  }

  /** Restarts the wait for the next sign of life. */
  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost("the server went silent"), this.#silenceMs);
  }

  #lost(cause) {
    const reason = navigator.onLine === false ? "the network is gone" : cause;
    this.#drop();
    const retryMs = this.#delay();
    this.#retry = setTimeout(() => this.reconnect(), retryMs);
    this.#tell({ state: "offline", retryMs, reason });
  }

  /** Gives the socket up without waiting for its goodbye, which a dead network never delivers. */
  #drop() {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = null;
    this.status = { ...this.status, connected: false };
    socket?.close();
    for (const settle of [...this.#acks.values()]) settle({ ok: false, code: "offline", reason: "connection lost" });
  }

  /** Doubles from try to try; scattered by half, so that a restarted server does not meet all its clients at once. */
  #delay() {
    const delay = Math.min(RETRY_MS * 2 ** this.#attempts++, RETRY_MS_MAX);
    return Math.round(delay * (0.5 + Math.random()));
  }

  #tell(status) {
    this.status = { connected: false, ...status };
    this.#dispatch("state", this.status);
  }

  #dispatch(name, data) {
    for (const listener of this.#listeners.get(name) ?? []) listener(data);
  }
}
