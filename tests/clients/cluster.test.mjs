// Several nodes on a real Redis, as one service: with clients of three generations, beside real Node servers with the
// adapters of four generations, with the emitters of JavaScript and Python, and with what is no message at all.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { after, afterEach, describe, it } from "node:test";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { closeAll, enter, fresh, usual, way, ways } from "./client.mjs";
import { Daemon, freePort } from "./daemon.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { Redis, until } from "./redis.mjs";

const require = createRequire(import.meta.url);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const VENVS = process.env.MAXTALK_TEST_VENVS ?? here("../../target/clients-venvs");

const LIBRARIES = ["socket.io-client 4", "socket.io-client 2", "socket.io-client 0.9"];

/** The libraries of all generations that tell a page its own id. */
const WITH_IDS = ["socket.io-client 3", "socket.io-client 1", ...LIBRARIES];

/** The MessagePack of the adapters, for what this suite publishes by hand. */
const { encode } = require("notepack.io");

/** The channel of a conversation, as Node servers name it. */
const channelOf = (conversation) => `socket.io#/max#${conversation}#`;

/** The bytes of an emit to a conversation, as a Node server publishes it. */
function emitOf(conversation, update, except = []) {
  const packet = { type: 2, data: ["update", update], nsp: "/max" };
  return encode(["backend", packet, { rooms: [conversation], except, flags: {} }]);
}

/**
 * Node servers that ask one another for sockets and rooms. Those with Socket.IO 2 number the kinds of requests in their
 * own way, and get no answers from the others.
 */
const NODE_CLUSTERS = {
  "adapters 6 to 8": [
    "adapter 8.3.0, node-redis 4",
    "adapter 8.3.0, ioredis",
    "adapter 7.2.0, node-redis 4",
    "socket.io-redis 6.1.1, socket.io 4",
    "socket.io-redis 6.1.1, socket.io 3",
  ],
  "adapters of Socket.IO 2": ["socket.io-redis 5.4.0, socket.io 2", "socket.io-redis 5.4.0, socket.io 2"],
};

/** `pickle.dumps({"method": "emit"})`, by which python-socketio began its messages before 5.14. */
const PICKLE = "80049517000000000000007d948c066d6574686f64948c04656d697494732e";

/** Publications that a Node server has to outlive. */
const MANY = 10_000;

/** Broken messages that come at once, and what each is: it would clear a terminal. */
const FLOOD = 2000;
const ESCAPES = Buffer.from("\u001b[2J");

/** The most that the API takes at once. */
const UPDATES_MAX = 1000;

const max = await startMax();
afterEach(closeAll);
after(() => max.stop());

/** One maxtalk of a cluster. */
class Node {
  static async start(redis, settings = {}) {
    const node = new Node();
    node.operators = await freePort();
    const own = { ADMIN__LISTEN: `127.0.0.1:${node.operators}`, CLUSTER__URL: redis.url, CONVERSATION__LINGER_MS: "0" };
    node.server = await Maxtalk.start(max.url, { ...own, ...settings });
    node.url = node.server.url;
    return node;
  }

  /** The sum of the values of a metric whose labels have this text. */
  async metric(name, labels = "") {
    const text = await (await fetch(`http://127.0.0.1:${this.operators}/metrics`)).text();
    const rows = text.split("\n").filter((row) => row.startsWith(name) && row.includes(labels));
    return rows.filter((row) => /[{ ]/.test(row[name.length])).reduce((sum, row) => sum + +row.split(" ").at(-1), 0);
  }

  /** Announces updates as a back end does by HTTP. */
  async announce(updates) {
    const response = await fetch(`http://127.0.0.1:${this.operators}/api/v1/updates`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ updates }),
    });
    assert.equal(response.status, 202, (await response.text()).slice(0, 200));
  }
}

/** Two maxtalks on one Redis, and Node servers of these kinds. */
class Cluster {
  static async start(options = {}) {
    const cluster = new Cluster();
    cluster.redis = await Redis.start();
    try {
      await cluster.#fill(options);
    } catch (error) {
      await cluster.redis.stop();
      throw error;
    }
    return cluster;
  }

  async #fill({ kinds = [], settings }) {
    const { redis } = this;
    [this.nodes, this.servers] = await Promise.all([
      Promise.all([Node.start(redis, settings), Node.start(redis, settings)]),
      Promise.all(kinds.map((kind) => nodeServer(kind, redis.port))),
    ]);
    for (const node of this.nodes) {
      const is1 = async (name) => (await node.metric(name)) === 1;
      const isUp = async () => (await is1("maxtalk_bus_up")) && (await is1("maxtalk_bus_peers"));
      await until("two nodes hear one another", isUp);
    }
    // Each server listens to all rooms of two namespaces.
    const patterns = async () => {
      const numbers = (await redis.command("CLIENT", "LIST")).matchAll(/ psub=(\d+)/g);
      return [...numbers].reduce((sum, [, number]) => sum + +number, 0);
    };
    await until("Node servers have subscribed", async () => (await patterns()) === 2 * kinds.length);
  }

  async stop() {
    for (const { server } of this.nodes) await server.stop();
    for (const server of this.servers) await server.end();
    await this.redis.stop();
  }
}

async function nodeServer(kind, redisPort) {
  const server = new Daemon(await freePort());
  server.kind = kind;
  await server.run(process.execPath, [here("node_server.mjs"), kind, server.port, redisPort], process.env);
  return server;
}

/** A client of a Node server, whose socket is in this conversation's room. */
async function enterNode(server, conversation) {
  const library = server.kind.endsWith("socket.io 2") ? "socket.io-client 2" : "socket.io-client 4";
  const client = way(library, "websocket").open(server.url);
  await client.next("connect");
  assert.equal(await client.acked("enter", [conversation]), true);
  return client;
}

/** The id by which a client knows itself. */
const idOf = (client) => client.socket.id ?? client.socket.socket.sessionid;

let messages = 0;
/** An update that nobody else has made. */
const news = (conversation, username = "eve") => {
  const messageID = `m${(messages += 1)}`;
  return { username, conversation, timestamp: 1732600000000 + messages, messageID };
};

/** Has a member with each of these libraries join a conversation, at alternating nodes. */
async function enterAll(nodes, conversation, libraries = LIBRARIES) {
  const people = [];
  for (const [at, library] of libraries.entries()) {
    people.push(await enter(way(library, "websocket"), nodes[at % 2].url, `p${at}.${conversation}`));
  }
  return people;
}

/** Has a client hear this update next of all updates. */
async function hears(client, update) {
  assert.deepEqual(await client.next("update"), update, client.name);
}

/** Has a client talk. Returns what the others hear. */
async function talk(client, conversation) {
  const { username, ...update } = news(conversation, client.join.username);
  assert.deepEqual(await client.acked("talk", update), { ok: true });
  return { username, ...update };
}

describe("two nodes", { timeout: 600_000 }, async () => {
  const cluster = await Cluster.start({ settings: { CLUSTER__PYTHON_CHANNEL: "socketio" } });
  const { redis, nodes } = cluster;
  after(() => cluster.stop());

  /** A member at each node. */
  const both = (red) => Promise.all(nodes.map(({ url }, at) => enter(usual, url, `${"ab"[at]}.${red}`)));

  it("have clients of all generations hear one another", async () => {
    const [red] = fresh("red");
    const kinds = ways.filter((way) => LIBRARIES.includes(way.library));
    const people = [];
    for (const [at, way] of kinds.entries()) {
      const person = await enter(way, nodes[at % 2].url, `p${at}.${red}`);
      await person.upgraded();
      const { username } = person.join;
      for (const other of people) await other.next("joined", (joined) => joined.username === username);
      people.push(person);
    }
    for (const person of people) {
      const update = await talk(person, red);
      for (const other of people) if (other !== person) await hears(other, update);
    }
    const names = people.map(({ join }) => join.username).sort();
    // Who has just come to one node may be announced to who has just come to the other, once.
    for (const [at, person] of people.entries()) {
      const earlier = person.all("joined").map(({ username }) => username);
      const possible = people.slice(0, at).map(({ join }) => join.username);
      assert.equal(new Set(earlier).size, earlier.length, `${person.name}: ${earlier}`);
      assert.ok(earlier.every((name) => possible.includes(name)), `${person.name}: ${earlier}`);
    }
    for (const person of people) {
      person.emit("ask", red);
      assert.deepEqual(await person.next("people"), { conversation: red, inroom: names.length, people: names });
    }
    while (people.length > 1) {
      const person = people.pop();
      await person.close();
      for (const other of people) {
        assert.deepEqual(await other.next("left"), { conversation: red, username: person.join.username }, other.name);
      }
    }
    for (const event of ["left", "update"]) await people[0].hearsNo(event, red);
  });

  it("leave out the socket that a back end names, of every generation", async () => {
    const [red] = fresh("red");
    const people = await enterAll(nodes, red, WITH_IDS);
    for (const left of people) {
      const [update, last] = [news(red), news(red)];
      await redis.command("PUBLISH", channelOf(red), emitOf(red, update, [idOf(left)]));
      await redis.command("PUBLISH", channelOf(red), emitOf(red, last));
      for (const person of people) {
        if (person !== left) await hears(person, update);
        await hears(person, last);
      }
    }
  });

  const EMITTERS = {
    "@socket.io/redis-emitter 5.1.0": async () => {
      const { Emitter } = require("@socket.io/redis-emitter");
      const client = await redis.connect();
      return { emitter: new Emitter(client), end: () => client.disconnect() };
    },
    "@socket.io/redis-emitter 4.1.1": async () => {
      const { Emitter } = require("redis-emitter-4");
      const client = await redis.connect();
      return { emitter: new Emitter(client), end: () => client.disconnect() };
    },
    "socket.io-emitter 3.2.0": async () => {
      const emitter = require("socket.io-emitter-3")({ host: "127.0.0.1", port: redis.port });
      return { emitter, end: () => emitter.redis.quit() };
    },
  };
  for (const [name, open] of Object.entries(EMITTERS)) {
    it(`hear ${name}`, async () => {
      const [red, blue] = fresh("red", "blue");
      const [ada, ben] = await both(`${red}.${blue}`);
      const { emitter, end } = await open();
      try {
        const [first, last] = [news(red), news(blue)];
        emitter.of("/max").to(red).emit("update", first);
        for (const person of [ada, ben]) await hears(person, first);
        if (emitter.except) {
          const update = news(red);
          emitter.of("/max").to(red).except(idOf(ada)).emit("update", update);
          await hears(ben, update);
        }
        emitter.of("/max").to(red).emit("other", first);
        emitter.of("/other").to(red).emit("update", news(red));
        // The rooms of others are none of its conversations.
        const { conversation, ...everywhere } = news(red);
        emitter.of("/max").to(red).to(blue).to("other").emit("update", everywhere);
        emitter.of("/max").to(blue).emit("update", last);
        for (const person of [ada, ben]) {
          // Updates of one conversation have an order, those of two have none.
          const each = [];
          while (each.length < 3) each.push(await person.next("update"));
          const of = (id) => each.filter(({ conversation }) => conversation === id);
          assert.deepEqual(of(red), [{ ...everywhere, conversation: red }]);
          assert.deepEqual(of(blue), [{ ...everywhere, conversation: blue }, last]);
          await person.hearsNo("update", red);
        }
      } finally {
        await end();
      }
    });
  }

  it("hear python-socketio, and drop what its old releases pickled", async () => {
    const [red] = fresh("red");
    const [ada, ben] = await both(red);
    const python = spawn(`${VENVS}/python-socketio-5/bin/python`, [here("python/announce.py"), redis.url], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
    const emit = async (order) => {
      python.stdin.write(`${JSON.stringify({ event: "update", room: red, ...order })}\n`);
      assert.equal((await answers.next()).value, "emitted");
    };
    try {
      const [first, second, last] = [news(red), news(red), news(red)];
      await emit({ data: first });
      for (const person of [ada, ben]) await hears(person, first);
      await emit({ data: second, skip: idOf(ada) });
      await hears(ben, second);
      const pickles = (node) => node.metric("maxtalk_bus_rejected_total", 'reason="pickle"');
      const before = await Promise.all(nodes.map(pickles));
      await redis.command("PUBLISH", "socketio", Buffer.from(PICKLE, "hex"));
      await emit({ data: last });
      for (const person of [ada, ben]) {
        await hears(person, last);
        await person.hearsNo("update", red);
      }
      for (const [at, node] of nodes.entries()) {
        assert.equal(await pickles(node), before[at] + 1);
      }
    } finally {
      python.stdin.end();
    }
  });

  it("drop, count and log what is no message, and go on", async () => {
    const [red] = fresh("red");
    const [ada, ben] = await both(red);
    const packet = { type: 2, data: ["update", news(red)], nsp: "/max" };
    const options = { rooms: [red], except: [], flags: {} };
    const whole = encode(["x", packet, options]);
    let nested = 1;
    for (let depth = 0; depth < 100; depth += 1) nested = [nested];
    const cases = [
      ["syntax", Buffer.alloc(0)],
      ["syntax", Buffer.from([0xc1])],
      ["syntax", whole.subarray(0, whole.length - 5)],
      ["syntax", Buffer.from("93ddffffffffdfffffffff", "hex")],
      ["envelope", Buffer.from([0xc0])],
      ["too_deep", encode(["x", packet, { ...options, flags: nested }])],
      ["options", encode(["x", packet, null])],
      ["rooms", encode(["x", packet, { ...options, rooms: red }])],
      ["packet", encode(["x", { ...packet, type: 5 }, options])],
      ["packet", encode(["x", { ...packet, data: {} }, options])],
      ["packet", encode(["x", { ...packet, data: [] }, options])],
      ["argument", encode(["x", { ...packet, data: ["update", 5] }, options])],
      ["username", encode(["x", { ...packet, data: ["update", {}] }, options])],
      ["conversation", emitOf(red, news("blue"))],
      ["value", emitOf(red, { ...news(red), messageID: {} })],
      ["mark", encode(["x", packet, { ...options, maxtalk: 5 }])],
      ["too_large", Buffer.alloc(10 * 1024 * 1024, 0x41)],
    ];
    const rejected = (reason) => nodes[0].metric("maxtalk_bus_rejected_total", `reason="${reason}"`);
    for (const [reason, bytes] of cases) {
      const before = [await rejected(reason), await nodes[0].metric("maxtalk_bus_rejected_total")];
      await redis.command("PUBLISH", channelOf(red), bytes);
      const is = async () => (await nodes[0].metric("maxtalk_bus_rejected_total")) - before[1];
      await until(`${reason} is counted: ${bytes.subarray(0, 200).toString("hex")}`, is);
      const shown = `${reason}: ${bytes.subarray(0, 60).toString("latin1")}`;
      assert.deepEqual([await rejected(reason), await is()], [before[0] + 1, 1], shown);
    }
    const began = Date.now();
    const isRefusal = (line) => line.includes("refused a message on the channel");
    const lines = () => nodes[0].server.log.split("\n").filter(isRefusal);
    const before = [lines().length, await rejected("syntax")];
    const flood = Array.from({ length: FLOOD }, () => redis.command("PUBLISH", channelOf(red), ESCAPES));
    await Promise.all(flood);
    await until("all are counted", async () => (await rejected("syntax")) === before[1] + FLOOD);
    await until("a line of the log shows one of them, escaped", async () => {
      await redis.command("PUBLISH", channelOf(red), ESCAPES);
      return lines().some((line) => line.includes("\\u{1b}[2J"));
    });
    const seconds = Math.ceil((Date.now() - began) / 1000);
    assert.ok(lines().length - before[0] <= seconds + 1, `${lines().length - before[0]} lines in ${seconds} s`);
    assert.ok(lines().some((line) => line.includes(`"${channelOf(red)}"`)), lines().at(-1));
    assert.ok(!nodes[0].server.log.includes(`${ESCAPES}`), "control characters are escaped");
    await hears(ben, await talk(ada, red));
    await hears(ada, await talk(ben, red));
    for (const person of [ada, ben]) await person.hearsNo("missed", red);
  });

  it("go on beside a thousand patterns of others", async () => {
    const [red] = fresh("red");
    const [ada, ben] = await both(red);
    const other = await redis.connect();
    try {
      const patterns = Array.from({ length: 1000 }, (_, at) => `socket.io#/dynamic-${at}#*`);
      await other.pSubscribe(patterns, () => {});
      assert.ok((await redis.command("PUBSUB", "NUMPAT")) >= patterns.length);
      for (let round = 0; round < 100; round += 1) {
        await hears(ben, await talk(ada, red));
        await hears(ada, await talk(ben, red));
      }
      for (const person of [ada, ben]) await person.hearsNo("missed", red);
    } finally {
      await other.disconnect();
    }
  });
});

describe("two nodes with cluster.namespace_wide", { timeout: 600_000 }, async () => {
  const cluster = await Cluster.start({ settings: { CLUSTER__NAMESPACE_WIDE: "true" } });
  after(() => cluster.stop());

  it("hear an emission to everybody in each conversation", async () => {
    const [red, blue] = fresh("red", "blue");
    const [ada, ben] = await Promise.all(
      cluster.nodes.map(({ url }, at) => enter(usual, url, `${"ab"[at]}.${red}.${blue}`)),
    );
    const { Emitter } = require("@socket.io/redis-emitter");
    const redis = await cluster.redis.connect();
    try {
      const { conversation, ...everywhere } = news(red);
      new Emitter(redis).of("/max").emit("update", everywhere);
      for (const person of [ada, ben]) {
        const heard = [await person.next("update"), await person.next("update")];
        const of = (id) => heard.filter(({ conversation }) => conversation === id);
        for (const id of [red, blue]) assert.deepEqual(of(id), [{ ...everywhere, conversation: id }], person.name);
      }
    } finally {
      await redis.disconnect();
    }
  });
});

for (const [name, kinds] of Object.entries(NODE_CLUSTERS)) {
  describe(`two nodes beside Node servers: ${name}`, { timeout: 600_000 }, async () => {
    const limits = { SESSION__EVENTS_BURST_MAX: "100000", SESSION__EVENTS_PER_SECOND_MAX: "100000" };
    const cluster = await Cluster.start({ kinds, settings: limits });
    const { redis, nodes, servers } = cluster;
    after(() => cluster.stop());

    it("are heard by the clients of each, once", async () => {
      const [red] = fresh("red");
      const theirs = await Promise.all(servers.map((server) => enterNode(server, red)));
      const expected = [];
      const people = [];
      for (const [at, library] of LIBRARIES.entries()) {
        const person = await enter(way(library, "websocket"), nodes[at % 2].url, `p${at}.${red}`);
        const who = { conversation: red, username: person.join.username };
        for (const client of theirs) assert.deepEqual(await client.next("joined"), who, client.name);
        people.push(person);
      }
      for (const person of people) {
        const update = await talk(person, red);
        expected.push(update);
        for (const client of theirs) await hears(client, update);
      }
      const [stays, ...others] = people;
      for (const person of others) {
        await person.close();
        const who = { conversation: red, username: person.join.username };
        for (const client of theirs) assert.deepEqual(await client.next("left"), who, client.name);
      }
      const last = await talk(stays, red);
      for (const client of theirs) {
        await hears(client, last);
        for (const event of ["update", "joined", "left", "disconnect", "connect_error", "missed"]) {
          assert.deepEqual(client.all(event), [], `${client.name}: ${event}`);
        }
      }
    });

    it("hear each of them, once, and leave out whom it names", async () => {
      const [red] = fresh("red");
      const people = await enterAll(nodes, red);
      for (const server of servers) {
        const client = await enterNode(server, red);
        const announce = (update, except, rooms = [red]) =>
          client.acked("announce", { rooms, except, event: "update", args: [update] });
        const first = news(red);
        await announce(first);
        for (const person of people) await hears(person, first);
        // Socket.IO has `except` since its release 4.
        if (/adapter|socket\.io 4$/.test(server.kind)) {
          for (const left of people) {
            const update = news(red);
            await announce(update, [idOf(left)]);
            for (const person of people) if (person !== left) await hears(person, update);
          }
        }
        // The whole namespace is not read unless a setting says so.
        await announce(news(red), [], []);
        const several = news(red);
        await announce(several, [], [red, "elsewhere"]);
        for (const person of people) await hears(person, several);
        const last = news(red);
        await announce(last);
        for (const person of people) {
          await hears(person, last);
          await person.hearsNo("update", red);
        }
      }
    });

    it("leave their requests to one another alone", async () => {
      const [red] = fresh("red");
      const ada = await enter(usual, nodes[0].url, `ada.${red}`);
      const clients = await Promise.all(servers.map((server) => enterNode(server, red)));
      const [, subscribed] = await redis.command("PUBSUB", "NUMSUB", "socket.io-request#/max#");
      assert.equal(subscribed, servers.length, "only Node servers listen to requests");
      // A Node server gives up after 5 s, and says so.
      for (const client of clients) {
        const { error, sockets, rooms } = await client.acked("count");
        assert.equal(error, undefined, client.name);
        assert.equal(sockets, servers.length, client.name);
        assert.ok(rooms.includes(red), client.name);
      }
      await ada.settled(red);
    });

    it(`leave them alive and hearing after ${MANY} messages`, async () => {
      const [red, blue] = fresh("red", "blue");
      const theirs = await Promise.all(servers.map((server) => enterNode(server, red)));
      const ada = await enter(usual, nodes[0].url, `ada.${red}.${blue}`);
      await Promise.all(theirs.map((client) => client.next("joined")));
      const published = async () => {
        const [one, other] = await Promise.all(nodes.map((node) => node.metric("maxtalk_bus_published_total")));
        return one + other;
      };
      const before = await published();
      const expected = [];
      const TALKS = 2000;
      for (let sent = 0; sent < TALKS; sent += 1) {
        const { username, ...update } = news(red, ada.join.username);
        ada.emit("talk", update);
        expected.push({ username, ...update });
      }
      await ada.settled(red);
      const JOINS = 50;
      for (let joined = 0; joined < JOINS; joined += 1) {
        const ben = await enter(usual, nodes[joined % 2].url, `ben.${red}.${blue}`);
        await ben.close();
      }
      // Each lost connection makes the nodes tell anew who is there.
      for (let lost = 0; lost < 3; lost += 1) {
        // Node's libraries speak the older protocol.
        const own = (await redis.command("CLIENT", "LIST")).split("\n").filter((row) => row.includes("resp=3"));
        assert.ok(own.length >= nodes.length, "each node has a connection");
        for (const row of own) await redis.command("CLIENT", "KILL", "ID", /id=(\d+)/.exec(row)[1]);
        for (const node of nodes) {
          await until("the bus is up again", async () => (await node.metric("maxtalk_bus_reconnects_total")) > lost);
          await until("the bus is up again", async () => (await node.metric("maxtalk_bus_up")) === 1);
        }
      }
      while ((await published()) - before < MANY) {
        const updates = Array.from({ length: UPDATES_MAX }, () => news(red));
        await nodes[0].announce(updates);
        expected.push(...updates);
        await until("all are published", async () => (await nodes[0].metric("maxtalk_bus_queue_messages")) === 0);
      }
      const last = await talk(ada, red);
      for (const client of theirs) {
        await client.next("update", ({ messageID }) => messageID === last.messageID);
        const heard = client.all("update");
        assert.equal(heard.length, expected.length, client.name);
        assert.deepEqual(heard, expected, client.name);
        for (const event of ["disconnect", "connect_error"]) assert.deepEqual(client.all(event), [], client.name);
      }
      for (const server of servers) {
        const client = await enterNode(server, blue);
        await hears(client, await talk(ada, blue));
        assert.equal(server.log, "", server.kind);
      }
    });
  });
}
