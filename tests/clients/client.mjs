// The official clients of every age behind one interface, so that every case runs with each of them over each transport
// that it has: five generations of socket.io-client within this process, two of python-socketio in processes of their
// own. Each is used as it was published.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

// Versions 1 and 2 take a global WebSocket for a browser's. Node had none in their time, and they bring their own.
delete globalThis.WebSocket;

// 0.8 finds its events where Node had them in its time.
process.EventEmitter = EventEmitter;

const require = createRequire(import.meta.url);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const VENVS = process.env.MAXTALK_TEST_VENVS ?? here("../../target/clients-venvs");
const PYTHON_CLIENT = here("python/client.py");

/** How long anything may take that a test waits for. */
const DEADLINE_MS = 60_000;

/** Everything that the server says, for clients that must be told what to listen to. */
const EVENTS = ["listening", "joined", "left", "update", "people", "refused"];

/** What all clients have in common: an inbox of all that they heard, in order, and how to wait for something in it. */
class Client {
  #inbox = [];
  #waiting = [];

  constructor(way, options) {
    this.name = `${options.join?.username ?? "somebody"} (${way.name})`;
    this.way = way;
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
    return this.within(`waits for ${event}`, (take) => this.#waiting.push({ wanted, take }));
  }

  /** Everything of this name that was heard and not yet taken. */
  all(event) {
    return this.#inbox.filter((news) => news.event === event).map((news) => news.data);
  }

  /**
   * Returns when all that was sent to this client before has come: the answer to an `ask` in a conversation of its own
   * has travelled the same way behind it.
   */
  async settled(conversation) {
    assert.deepEqual(await this.acked("ask", conversation), { ok: true });
    await this.next("people", (people) => people.conversation === conversation);
  }

  /** Shows that no such event came. */
  async hearsNo(event, conversation) {
    await this.settled(conversation);
    assert.deepEqual(this.all(event), [], `${this.name} should have heard no ${event}`);
  }

  /** Emits an event, and returns the ack. */
  acked(event, ...args) {
    return this.within(`waits for the ack of ${event}`, (take) => this.emitWithAck(event, args, take));
  }

  /** Returns when the upgrade is through, for a client that upgrades after it has connected. */
  async upgraded() {}

  /** A promise with a deadline, which then tells what was heard instead. */
  within(what, start) {
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

/** What the generations of socket.io-client have in common, which is more than their names for things. */
class JavaScriptClient extends Client {
  constructor(way, socket, options) {
    super(way, options);
    this.socket = socket;
    this.version = way.version;
    socket.on("connect", () => this.heard("connect"));
    socket.on("disconnect", (reason) => this.heard("disconnect", reason));
    // A refused namespace is an `error` before version 3.
    for (const event of ["connect_error", "error"]) {
      socket.on(event, (error) => this.heard("connect_error", error?.message ?? error));
    }
    if (socket.onAny) socket.onAny((event, data) => this.heard(event, data));
    else for (const event of EVENTS) socket.on(event, (data) => this.heard(event, data));
  }

  emit(event, ...args) {
    this.socket.emit(event, ...args);
  }

  emitWithAck(event, args, take) {
    this.socket.emit(event, ...args, take);
  }
}

/** socket.io-client 1 to 4, all of which stand on Engine.IO. */
class EngineIoClient extends JavaScriptClient {
  constructor(way, url, { auth, headers, tls, namespace = "/max", ...options }) {
    const socket = way.io(url + namespace, {
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 300,
      ...(auth && { auth }),
      ...(headers && { extraHeaders: headers }),
      ...tls,
      ...(way.transports && { transports: way.transports }),
    });
    super(way, socket, options);
    this.upgrades = way.transports === undefined;
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  upgraded() {
    if (this.transport === "websocket" || !this.upgrades) return undefined;
    return this.within("waits for the upgrade", (take) => this.socket.io.engine.once("upgrade", take));
  }

  async close() {
    this.socket.disconnect();
  }
}

/** socket.io-client 0.9, whose `socket` is a namespace, and whose `socket.socket` is the connection. */
class EarlyClient extends JavaScriptClient {
  constructor(way, url, { namespace = "/max", ...options }) {
    // The option `transports` would be merged into this list, which all connections share: each gets its own instead.
    way.io.transports = [...way.transports];
    const socket = way.io.connect(url + namespace, {
      "force new connection": true,
      "reconnection delay": 50,
      "reconnection limit": 300,
      "max reconnection attempts": Infinity,
    });
    super(way, socket, options);
  }

  get transport() {
    return this.socket.socket.transport.name;
  }

  /** Asks for one more namespace on the same connection, and returns when the server has granted it. */
  granted(namespace) {
    return this.within(`waits for ${namespace}`, (take) => this.socket.socket.of(namespace).on("connect", take));
  }

  async close() {
    const connection = this.socket.socket;
    // While it posts, it buffers what it has to say, and would be gone before it says goodbye.
    const late = Date.now() + DEADLINE_MS;
    while (connection.connected && connection.doBuffer && Date.now() < late) await sleep(5);
    // It does not count as connected, and would come back, while it waits to try again.
    connection.reconnecting = false;
    connection.disconnect();
  }
}

/** python-socketio 4 and 5, in a virtual environment each. Both upgrade before they say that they are connected. */
class PythonClient extends Client {
  #process;
  #acks = new Map();
  #lastAck = 0;
  #exited;

  constructor(way, url, { auth, namespace = "/max", ...options }) {
    super(way, options);
    const python = `${VENVS}/${way.library.replace(" ", "-")}/bin/python`;
    const settings = { url, transports: way.transports, auth, namespace };
    this.#process = spawn(python, [PYTHON_CLIENT, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] });
    this.#exited = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.once("error", (error) => this.heard("connect_error", `${python}: ${error.message}`));
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
    if (event === "connect") [this.transport, this.version] = args;
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

/** How clients on Engine.IO are told their transport: `undefined` leaves the choice to them, and then they upgrade. */
const ENGINE_IO = { websocket: ["websocket"], polling: ["polling"], upgrade: undefined };
const BEFORE_ENGINE_IO = { websocket: ["websocket"], "xhr-polling": ["xhr-polling"] };

/** The generations of the protocol, and the transports that a client of each has outside a browser. */
const G4 = { generation: "Engine.IO 4", over: ENGINE_IO };
const G3 = { generation: "Engine.IO 3", over: ENGINE_IO };
const G1 = { generation: "Socket.IO 0.9", over: BEFORE_ENGINE_IO };

const javaScript = (generation, Client, name) => {
  const { version } = require(`${name}/package.json`);
  return { ...generation, Client, io: require(name), version };
};

const LIBRARIES = {
  "socket.io-client 4": javaScript(G4, EngineIoClient, "socket.io-client"),
  "socket.io-client 3": javaScript(G4, EngineIoClient, "socket.io-client-3"),
  "socket.io-client 2": javaScript(G3, EngineIoClient, "socket.io-client-2"),
  "socket.io-client 1": javaScript(G3, EngineIoClient, "socket.io-client-1"),
  "socket.io-client 0.9": javaScript(G1, EarlyClient, "socket.io-client-0.9"),
  "python-socketio 5": { ...G4, Client: PythonClient },
  "python-socketio 4": { ...G3, Client: PythonClient },
};

/** A client over each of these transports: how to open one, and what it is. */
const waysOf = ([library, { over, Client, ...traits }]) =>
  Object.entries(over).map(([transport, transports]) => {
    const open = (url, options = {}) => new Client(way, url, options);
    const way = { name: `${library}, ${transport}`, library, transport, transports, ...traits, open };
    return way;
  });

/** Every client over every transport that it has. */
export const ways = Object.entries(LIBRARIES).flatMap(waysOf);

const G0 = { generation: "Socket.IO 0.9", over: { "xhr-polling": ["xhr-polling"] } };

/**
 * The oldest client. In Node it speaks no version of WebSocket that is still served, and it does not notice that a
 * server has gone. That is why it is not among the `ways`.
 */
export const [oldest] = waysOf(["socket.io-client 0.8", javaScript(G0, EarlyClient, "socket.io-client-0.8")]);

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
