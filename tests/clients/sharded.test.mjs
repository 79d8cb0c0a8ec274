// Two nodes in the sharded dialect beside real Node servers with `createShardedAdapter`, on one Redis and on a Redis
// Cluster of three masters.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { closeAll, enter, fresh, way } from "./client.mjs";
import { Daemon, freePort } from "./daemon.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { Redis, RedisCluster, until } from "./redis.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const max = await startMax();
afterEach(closeAll);
after(() => max.stop());

/** One maxtalk. */
class Node {
  static async start(url) {
    const node = new Node();
    node.operators = await freePort();
    const own = { ADMIN__LISTEN: `127.0.0.1:${node.operators}`, CLUSTER__URL: url, CLUSTER__DIALECT: "sharded" };
    node.server = await Maxtalk.start(max.url, { ...own, CONVERSATION__LINGER_MS: "0" });
    node.url = node.server.url;
    return node;
  }

  /** The state of its bus. */
  async cluster() {
    return (await fetch(`http://127.0.0.1:${this.operators}/api/v1/cluster`)).json();
  }
}

async function nodeServer(kind, ports) {
  const server = new Daemon(await freePort());
  server.kind = kind;
  await server.run(process.execPath, [here("node_server.mjs"), kind, server.port, ...ports], process.env);
  return server;
}

/** A client of a Node server, whose socket is in this conversation's room. */
async function enterNode(server, conversation) {
  const client = way("socket.io-client 4", "websocket").open(server.url);
  await client.next("connect");
  assert.equal(await client.acked("enter", [conversation]), true);
  return client;
}

let messages = 0;
/** An update that nobody else has made. */
const news = (conversation, username = "eve") => {
  const messageID = `m${(messages += 1)}`;
  return { username, conversation, timestamp: 1732600000000 + messages, messageID };
};

async function hears(client, update) {
  assert.deepEqual(await client.next("update"), update, client.name);
}

async function talk(client, conversation) {
  const { username, ...update } = news(conversation, client.join.username);
  assert.deepEqual(await client.acked("talk", update), { ok: true });
  return { username, ...update };
}

const PLACES = {
  "one Redis": {
    start: async () => {
      const redis = await Redis.start();
      return { url: redis.url, ports: [redis.port], servers: [redis], stop: () => redis.stop() };
    },
    kinds: ["sharded adapter 8.3.0, node-redis 4", "sharded adapter 8.3.0, ioredis"],
  },
  "a Redis Cluster": {
    start: () => RedisCluster.start(),
    kinds: Array(2).fill("sharded adapter 8.3.0, Cluster of node-redis 4"),
  },
};

for (const [name, { start, kinds }] of Object.entries(PLACES)) {
  describe(`two nodes in the sharded dialect beside Node servers on ${name}`, { timeout: 600_000 }, async () => {
    const place = await start();
    const nodes = await Promise.all([Node.start(place.url), Node.start(place.url)]);
    const servers = await Promise.all(kinds.map((kind) => nodeServer(kind, place.ports)));
    after(async () => {
      for (const { server } of nodes) await server.stop();
      for (const server of servers) await server.end();
      await place.stop();
    });
    for (const node of nodes) {
      const isUp = ({ up, peers }) => up && peers.length === 1;
      await until("two nodes hear one another", async () => isUp(await node.cluster()));
    }
    /** How many subscribers a channel has. */
    const subscribers = async (channel) => {
      const command = ["PUBSUB", "SHARDNUMSUB", channel];
      const all = await Promise.all(place.servers.map((server) => server.command(...command)));
      return all.reduce((sum, [, number]) => sum + number, 0);
    };
    const everybody = nodes.length + kinds.length;
    await until("all have subscribed", async () => (await subscribers("socket.io#/max#")) === everybody);

    it("are heard by the clients of each, once, and hear them", async () => {
      // The slots of several rooms are spread over the masters.
      for (const red of fresh("red", "blue", "green", "white", "black")) {
        const theirs = await Promise.all(servers.map((server) => enterNode(server, red)));
        const all = servers.length;
        const channel = `socket.io#/max#${red}#`;
        await until("the rooms are subscribed", async () => (await subscribers(channel)) === all);
        const people = [];
        for (const [at, node] of nodes.entries()) {
          const person = await enter(way("socket.io-client 4", "websocket"), node.url, `p${at}.${red}`);
          const who = { conversation: red, username: person.join.username };
          for (const client of [...theirs, ...people]) assert.deepEqual(await client.next("joined"), who, client.name);
          people.push(person);
        }
        for (const person of people) {
          const update = await talk(person, red);
          for (const client of theirs) await hears(client, update);
          for (const other of people) if (other !== person) await hears(other, update);
        }
        for (const client of theirs) {
          const announce = (update, except, rooms = [red]) =>
            client.acked("announce", { rooms, except, event: "update", args: [update] });
          const [first, second, several, last] = [1, 2, 3, 4].map(() => news(red));
          await announce(first);
          for (const other of [...theirs, ...people]) await hears(other, first);
          await announce(second, [people[0].socket.id]);
          for (const other of [...theirs, people[1]]) await hears(other, second);
          // Between the channel of the room and that of the namespace there is no order.
          await announce(several, [], [red, "elsewhere"]);
          for (const other of [...theirs, ...people]) await hears(other, several);
          await announce(last);
          for (const other of [...theirs, ...people]) await hears(other, last);
        }
        await people[1].close();
        const who = { conversation: red, username: people[1].join.username };
        for (const client of [...theirs, people[0]]) assert.deepEqual(await client.next("left"), who, client.name);
        for (const client of theirs) {
          for (const event of ["update", "joined", "left", "disconnect"]) {
            assert.deepEqual(client.all(event), [], `${client.name}: ${event}`);
          }
        }
        await people[0].hearsNo("missed", red);
        await closeAll();
      }
    });

    it("answer the requests of Node servers, which would wait for them", async () => {
      const [red] = fresh("red");
      const clients = await Promise.all(servers.map((server) => enterNode(server, red)));
      for (const client of clients) {
        assert.deepEqual(await client.acked("count"), { sockets: servers.length, rooms: [] }, client.name);
        const answers = await client.acked("ask");
        assert.ok(Array.isArray(answers), `${answers}`);
        assert.equal(answers.filter((answer) => answer === null).length, nodes.length);
        assert.equal(answers.filter((answer) => typeof answer === "string").length, servers.length - 1);
      }
    });
  });
}
