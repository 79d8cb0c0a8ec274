// The official clients behind one interface, so that every case runs with each of them over each transport: two
// generations of socket.io-client within this process, python-socketio in processes of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { io as io4 } from "socket.io-client";
import { io as io3 } from "socket.io-client-3";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = process.env.MAXTALK_TEST_PYTHON ?? here("../../target/clients-venv/bin/python");
const PYTHON_CLIENT = here("python/client.py");

/** How long anything may take that a test waits for. */
const DEADLINE_MS = 15_000;

/** What a client is made of besides its library: `undefined` leaves the choice to the library, which upgrades. */
const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], upgrade: undefined };

/** What all clients have in common: an inbox of all that they heard, in order, and how to wait for something in it. */
class Client {
  #inbox = [];
  #waiting = [];

  constructor(way, options) {
    this.name = `${options.join?.username ?? "somebody"} (${way})`;
    this.join = options.join;
    opened.add(this);
  }

  /** Called by the client when it hears something; `connect`, `disconnect` and `connect_error` count as events too. */
  heard(event, data, text) {
    const news = { event, data, text };
    const index = this.#waiting.findIndex(({ wanted }) => wanted(news));
    if (index < 0) this.#inbox.push(news);
    else this.#waiting.splice(index, 1)[0].take(news);
    if (event === "connect" && this.join) this.emit("join", this.join);
  }

  /** The data of the first event of this name that matches, of those heard or of those to come. It is taken out. */
  async next(event, matches = () => true) {
    return (await this.nextNews(event, matches)).data;
  }

  /** As `next`, with the text that came over the wire where the client gives it. */
  nextNews(event, matches = () => true) {
    const wanted = (news) => news.event === event && matches(news.data);
    const index = this.#inbox.findIndex(wanted);
    if (index >= 0) return Promise.resolve(this.#inbox.splice(index, 1)[0]);
    return this.#within(`waits for ${event}`, (take) => this.#waiting.push({ wanted, take }));
  }

  /** Everything of this name that was heard and not yet taken. */
  all(event) {
    return this.#inbox.filter((news) => news.event === event).map((news) => news.data);
  }

  /**
   * Shows that no such event came: the answer to an `ask` has travelled the same way behind anything that was sent to
   * this client before.
   */
  async hearsNo(event, conversation) {
    assert.deepEqual(await this.acked("ask", conversation), { ok: true });
    await this.next("people", (people) => people.conversation === conversation);
    assert.deepEqual(this.all(event), [], `${this.name} should have heard no ${event}`);
  }

  /** Emits an event, and returns the ack. */
  acked(event, ...args) {
    return this.#within(`waits for the ack of ${event}`, (take) => this.emitWithAck(event, args, take));
  }

  /** A promise with a deadline, which then tells what was heard instead. */
  #within(what, start) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const instead = JSON.stringify(this.#inbox.slice(-20));
        reject(new Error(`${this.name} ${what} in vain, after ${DEADLINE_MS} ms; it heard ${instead}`));
      }, DEADLINE_MS);
      start((value) => {
        clearTimeout(timer);
        resolve(value);
      });
    });
  }
}

class JavaScriptClient extends Client {
  #socket;

  constructor(way, io, transports, url, { auth, namespace = "/max", ...options }) {
    super(way, options);
    this.upgrades = transports === undefined;
    this.#socket = io(url + namespace, {
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 300,
      ...(auth && { auth }),
      ...(transports && { transports }),
    });
    this.#socket.on("connect", () => this.heard("connect"));
    this.#socket.on("disconnect", (reason) => this.heard("disconnect", reason));
    this.#socket.on("connect_error", (error) => this.heard("connect_error", error.message));
    this.#socket.onAny((event, data) => this.heard(event, data));
  }

  emit(event, ...args) {
    this.#socket.emit(event, ...args);
  }

  emitWithAck(event, args, take) {
    this.#socket.emit(event, ...args, take);
  }

  get transport() {
    return this.#socket.io.engine.transport.name;
  }

  /** Returns when the upgrade is through, for a client that upgrades. */
  upgraded() {
    if (this.transport === "websocket" || !this.upgrades) return undefined;
    return new Promise((resolve) => this.#socket.io.engine.once("upgrade", resolve));
  }

  async close() {
    this.#socket.disconnect();
  }
}

class PythonClient extends Client {
  #process;
  #acks = new Map();
  #lastAck = 0;
  #exited;

  constructor(way, transports, url, { auth, namespace = "/max", ...options }) {
    super(way, options);
    const settings = { url, transports, auth, namespace };
    this.#process = spawn(PYTHON, [PYTHON_CLIENT, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] });
    this.#exited = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.once("error", (error) => this.heard("connect_error", `${PYTHON}: ${error.message}`));
    this.#process.stdin.on("error", () => {}); // It may have been killed.
    createInterface({ input: this.#process.stdout }).on("line", (text) => this.#line(text));
  }

  #line(text) {
    const [event, ...args] = JSON.parse(text);
    if (event === "ack") {
      this.#acks.get(args[0])?.(args[1]);
      this.#acks.delete(args[0]);
      return;
    }
    if (event === "connect") this.transport = args[0];
    this.heard(event, args[0], text);
  }

  emit(event, ...args) {
    this.emitText(JSON.stringify([event, ...args]));
  }

  /** Emits what this JSON says, which may hold numbers that JavaScript has not. */
  emitText(json, ack = null) {
    this.#process.stdin.write(`{"emit":${json},"ack":${ack}}\n`);
  }

  emitWithAck(event, args, take) {
    const id = ++this.#lastAck;
    this.#acks.set(id, take);
    this.emitText(JSON.stringify([event, ...args]), id);
  }

  /** This library upgrades before it says that it is connected. */
  async upgraded() {}

  async close() {
    this.#process.stdin.end();
    const late = setTimeout(() => this.#process.kill("SIGKILL"), DEADLINE_MS);
    await this.#exited;
    clearTimeout(late);
  }

  /** Ends the client as a crash does. */
  async die() {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }
}

const libraries = {
  "socket.io-client 4": (way, ...rest) => new JavaScriptClient(way, io4, ...rest),
  "socket.io-client 3": (way, ...rest) => new JavaScriptClient(way, io3, ...rest),
  "python-socketio": (way, ...rest) => new PythonClient(way, ...rest),
};

/** Every client over every transport: how to open one, and where it should end up. */
export const ways = Object.entries(libraries).flatMap(([library, make]) =>
  Object.entries(TRANSPORTS).map(([transport, transports]) => {
    const name = `${library}, ${transport}`;
    return { name, library, transport, open: (url, options = {}) => make(name, transports, url, options) };
  }),
);

/** The way of this client over this transport. */
export const way = (library, transport) => ways.find((way) => way.library === library && way.transport === transport);

/** The way that most people take, where a test is not about the way. */
export const usual = way("socket.io-client 4", "websocket");

/** The token that the tests' MAX knows for a user, however the name is written. */
export const tokenOf = (username) => `t-${username.toLowerCase()}`;

/** Opens a client that joins whenever it connects, and returns it when it listens. */
export async function enter(way, url, username, options = {}) {
  const client = way.open(url, { join: { username, token: tokenOf(username), timestamp: 1 }, ...options });
  client.listening = (await client.next("listening")).conversations;
  return client;
}

const opened = new Set();

/** Closes every client that is still open: for the end of each case. */
export async function closeAll() {
  const clients = [...opened];
  opened.clear();
  await Promise.all(clients.map((client) => client.close()));
}

/** Names of conversations that no other case uses. */
export const fresh = (...names) => names.map((name) => `${name}${++count}`);
let count = 0;
