// maxtalk as a child process on a free port. The binary is target/debug/maxtalk, or the one that MAXTALK_BIN names. With
// MAXTALK_TEST_NODES=3 each server that a suite starts is one of three nodes on a Redis of their own.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

import { Daemon, freePort } from "./daemon.mjs";
import { SERVICE } from "./max.mjs";
import { Redis, until } from "./redis.mjs";

/** The nodes that run beside each server of a suite. */
const OTHERS = Number(process.env.MAXTALK_TEST_NODES ?? 1) - 1;

const BINARY = process.env.MAXTALK_BIN ?? fileURLToPath(new URL("../../target/debug/maxtalk", import.meta.url));

/** One maxtalk, which may be stopped and started again on the same port. */
export class Maxtalk extends Daemon {
  /** The other nodes, and their Redis. */
  #others = [];
  #redis;

  /** Prepares a server with these settings, written as its own environment variables without their prefix. */
  static async on(settings = {}) {
    const server = new Maxtalk(await freePort());
    server.settings = { SERVER__LISTEN: `127.0.0.1:${server.port}`, ADMIN__LISTEN: "", ...settings };
    return server;
  }

  /** Starts a server that asks the MAX at `url`, and that also lets people in without a token unless told otherwise. */
  static async start(url, settings = {}) {
    const server = await Maxtalk.on({
      MAX__URL: url,
      MAX__TOKENLESS_JOINS: "true",
      MAX__SERVICE_USERNAME: SERVICE.username,
      MAX__SERVICE_TOKEN: SERVICE.token,
      // A node on a busy machine is late to subscribe, and nobody is to miss anything until it has.
      CLUSTER__ATTACH_MS: "30000",
      ...settings,
    });
    if (OTHERS > 0 && !("CLUSTER__URL" in settings)) await server.#join(OTHERS);
    await server.start();
    for (const other of server.#others) await other.hears(OTHERS);
    return server;
  }

  /** Starts other nodes with the same settings, and makes this one a node of theirs. */
  async #join(others) {
    this.#redis = await Redis.start();
    this.settings.CLUSTER__URL = this.#redis.url;
    for (let started = 0; started < others; started += 1) {
      const other = await Maxtalk.on({ ...this.settings, ADMIN__LISTEN: "" });
      other.settings.SERVER__LISTEN = `127.0.0.1:${other.port}`;
      await other.start();
      this.#others.push(other);
    }
  }

  /** Waits until this node has heard so many others. */
  async hears(others) {
    await until("all nodes hear one another", () => this.log.split(" is heard at ").length > others);
  }

  /** Starts the process, and returns when the port takes connections. */
  async start() {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MAXTALK_"));
    const own = Object.entries(this.settings).map(([name, value]) => [`MAXTALK_${name}`, value]);
    await this.run(BINARY, [], Object.fromEntries([...inherited, ...own]));
  }

  /** Stops the server as an operator does, and holds it to a clean end: for the last line of a suite. */
  async stop() {
    await this.#stop();
    for (const other of this.#others) await other.#stop();
    await this.#redis?.stop();
  }

  async #stop() {
    const { code, signal } = await this.end();
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, `the stop was not clean:\n${this.log}`);
    assert.ok(!this.log.includes("panicked"), `something panicked:\n${this.log}`);
  }
}
