// A real redis-server on a free port, without persistence, and a client for what a test does to it by hand.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createClient } from "redis";

import { Daemon, freePort } from "./daemon.mjs";

const DEADLINE_MS = 60_000;
const PERIOD_MS = 20;

/** One Redis. */
export class Redis extends Daemon {
  /** Starts it, and connects to it. */
  static async start(more = {}) {
    const { error } = spawnSync("redis-server", ["--version"]);
    if (error) throw new Error("redis-server is needed: apt-get install redis-server", { cause: error });
    const redis = new Redis(await freePort());
    redis.url = `redis://127.0.0.1:${redis.port}`;
    const options = { port: redis.port, bind: "127.0.0.1", dir: tmpdir(), save: "", appendonly: "no", ...more };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    await redis.run("redis-server", args, process.env);
    redis.client = await redis.connect();
    return redis;
  }

  /** One more connection. */
  async connect() {
    const client = createClient({ url: this.url });
    client.on("error", () => {}); // Redis has stopped, or a test has ended the connection.
    await client.connect();
    return client;
  }

  /** Sends a command, whose words are texts or bytes. */
  command(...words) {
    return this.client.sendCommand(words);
  }

  /** Stops it with the connection of its own. */
  async stop() {
    await this.client.disconnect();
    await this.end();
  }
}

/** A Redis Cluster of three masters. */
export class RedisCluster {
  static async start() {
    const cluster = new RedisCluster();
    const options = async () => ({ "cluster-enabled": "yes", "cluster-port": await freePort() });
    cluster.dirs = [0, 1, 2].map(() => mkdtempSync(join(tmpdir(), "redis-cluster-")));
    cluster.servers = [];
    for (const dir of cluster.dirs) cluster.servers.push(await Redis.start({ ...(await options()), dir }));
    const slots = 16384;
    for (const [at, server] of cluster.servers.entries()) {
      const [first, last] = [Math.floor((at * slots) / 3), Math.floor(((at + 1) * slots) / 3) - 1];
      await server.command("CLUSTER", "ADDSLOTSRANGE", `${first}`, `${last}`);
      if (at === 0) continue;
      const bus = (await server.command("CONFIG", "GET", "cluster-port"))[1];
      await cluster.servers[0].command("CLUSTER", "MEET", "127.0.0.1", `${server.port}`, bus);
    }
    for (const server of cluster.servers) {
      const isWhole = async () => (await server.command("CLUSTER", "INFO")).includes("cluster_slots_ok:16384");
      await until("each member knows all slots", isWhole);
    }
    cluster.ports = cluster.servers.map(({ port }) => port);
    cluster.url = `redis+cluster://${cluster.ports.map((port) => `127.0.0.1:${port}`).join(",")}`;
    return cluster;
  }

  /** Sends a command to each master. */
  commandAll(...words) {
    return Promise.all(this.servers.map((server) => server.command(...words)));
  }

  async stop() {
    for (const server of this.servers) await server.stop();
    for (const dir of this.dirs) rmSync(dir, { recursive: true });
  }
}

/** Waits until something is so, and returns it. */
export async function until(what, isSo) {
  const late = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (Date.now() > late) throw new Error(`in vain: ${what}`);
    await sleep(PERIOD_MS);
  }
}
