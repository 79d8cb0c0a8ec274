// A real redis-server on a free port, without persistence, and a client for what a test does to it by hand.

import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { createClient } from "redis";

import { Daemon, freePort } from "./daemon.mjs";

const DEADLINE_MS = 15_000;
const PERIOD_MS = 20;

/** One Redis. */
export class Redis extends Daemon {
  /** Starts it, and connects to it. */
  static async start() {
    const { error } = spawnSync("redis-server", ["--version"]);
    if (error) throw new Error("redis-server is needed: apt-get install redis-server", { cause: error });
    const redis = new Redis(await freePort());
    redis.url = `redis://127.0.0.1:${redis.port}`;
    const options = { port: redis.port, bind: "127.0.0.1", dir: tmpdir(), save: "", appendonly: "no" };
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
