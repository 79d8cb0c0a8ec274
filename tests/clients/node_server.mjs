// A Socket.IO server with a Redis adapter, as applications have it: `node node_server.mjs KIND PORT REDIS_PORT`,
// or with the ports of all masters of a Redis Cluster. Its
// clients say in the namespace /max what it shall do:
//   enter(rooms, ack): it puts their socket into these rooms
//   announce({ rooms, except, event, args }, ack): it emits to these rooms
//   count(ack): it asks all servers for their sockets and rooms, and answers { sockets, rooms } or { error }
// A kind is a server, an adapter, and the library that the adapter has for Redis. It ends at an exception that nobody
// catches, as such servers do.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { promisify } from "node:util";

const require = createRequire(import.meta.url);
const [kind, port, ...redisPorts] = process.argv.slice(2);
const [redisPort] = redisPorts;
const redisUrl = `redis://127.0.0.1:${redisPort}`;

/** Connects the library that a release of the adapter was made for, once to publish and once to subscribe. */
async function connections(library) {
  if (library === "ioredis") {
    const { default: Redis } = require("ioredis");
    return [new Redis(redisUrl), new Redis(redisUrl)];
  }
  if (library === "redis cluster") {
    const rootNodes = redisPorts.map((port) => ({ url: `redis://127.0.0.1:${port}` }));
    const { createCluster } = require("redis");
    const clusters = [createCluster({ rootNodes }), createCluster({ rootNodes })];
    await Promise.all(clusters.map((cluster) => cluster.connect()));
    return clusters;
  }
  const { createClient } = require(library);
  const clients = [createClient({ url: redisUrl }), createClient({ url: redisUrl })];
  // Release 3 connects by itself.
  if (library === "redis") await Promise.all(clients.map((client) => client.connect()));
  return clients;
}

const KINDS = {
  "adapter 8.3.0, node-redis 4": { server: "socket.io", adapter: "@socket.io/redis-adapter", library: "redis" },
  "adapter 8.3.0, ioredis": { server: "socket.io", adapter: "@socket.io/redis-adapter", library: "ioredis" },
  "sharded adapter 8.3.0, node-redis 4": { adapter: "@socket.io/redis-adapter", library: "redis", sharded: true },
  "sharded adapter 8.3.0, ioredis": { adapter: "@socket.io/redis-adapter", library: "ioredis", sharded: true },
  "sharded adapter 8.3.0, Cluster of node-redis 4": {
    adapter: "@socket.io/redis-adapter",
    library: "redis cluster",
    sharded: true,
  },
  "adapter 7.2.0, node-redis 4": { server: "socket.io", adapter: "redis-adapter-7", library: "redis" },
  "socket.io-redis 6.1.1, socket.io 4": { server: "socket.io", adapter: "socket.io-redis-6", library: "redis-3" },
  "socket.io-redis 6.1.1, socket.io 3": { server: "socket.io-3", adapter: "socket.io-redis-6", library: "redis-3" },
  "socket.io-redis 5.4.0, socket.io 2": { server: "socket.io-2", adapter: "socket.io-redis-5" },
};

const { server = "socket.io", adapter, library, sharded } = KINDS[kind];
const http = createServer();
const is2 = server === "socket.io-2";
const io = is2 ? require(server)(http) : new (require(server).Server)(http);
if (is2) {
  io.adapter(require(adapter)({ host: "127.0.0.1", port: +redisPort }));
} else {
  const [pub, sub] = await connections(library);
  const { createAdapter, createShardedAdapter } = require(adapter);
  const isNamed = adapter === "socket.io-redis-6";
  const create = sharded ? createShardedAdapter : createAdapter;
  io.adapter(isNamed ? create({ pubClient: pub, subClient: sub }) : create(pub, sub));
}

const max = io.of("/max");
max.on("connection", (socket) => {
  socket.on("enter", async (rooms, ack) => {
    for (const room of rooms) await socket.join(room);
    ack(true);
  });
  socket.on("announce", ({ rooms, except = [], event, args }, ack) => {
    let target = max;
    for (const room of rooms) target = target.to(room);
    for (const id of except) target = target.except(id);
    target.emit(event, ...args);
    ack(true);
  });
  socket.on("ask", (ack) => max.serverSideEmit("who", (error, answers) => ack(error ? `${error}` : answers)));
  socket.on("count", async (ack) => {
    try {
      ack({ sockets: await socketsOf(), rooms: await roomsOf() });
    } catch (error) {
      ack({ error: `${error.message ?? error}` });
    }
  });
});

max.on("who", (answer) => answer(kind));

/** The sockets of all servers. Releases before 4 know only their ids. */
async function socketsOf() {
  if (is2) return (await promisify(max.clients.bind(max))()).length;
  return max.fetchSockets ? (await max.fetchSockets()).length : (await max.allSockets()).size;
}

/** The rooms of all servers. */
async function roomsOf() {
  // The sharded adapter has no such question.
  if (sharded) return [];
  return is2 ? promisify(max.adapter.allRooms.bind(max.adapter))() : [...(await max.adapter.allRooms())];
}

http.listen(+port, "127.0.0.1");
