// maxtalk as a child process: started on a free port, ready when a TCP connection works, stopped by a signal. The
// binary is target/debug/maxtalk, or the one that MAXTALK_BIN names.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";

import { SERVICE } from "./max.mjs";

const BINARY = process.env.MAXTALK_BIN ?? fileURLToPath(new URL("../../target/debug/maxtalk", import.meta.url));
const START_MS = 15_000;
const STOP_MS = 10_000;
const LOG_BYTES_MAX = 64 * 1024;

/** One maxtalk, which may be stopped and started again on the same port. */
export class Maxtalk {
  #child;
  #exited;
  #log = "";

  /** Prepares a server with these settings, written as its own environment variables without their prefix. */
  static async on(settings = {}) {
    const server = new Maxtalk();
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    server.settings = { SERVER__LISTEN: `127.0.0.1:${server.port}`, ...settings };
    return server;
  }

  /** Starts a server that asks the MAX at `url`, and that also lets people in without a token unless told otherwise. */
  static async start(url, settings = {}) {
    const server = await Maxtalk.on({
      MAX__URL: url,
      MAX__TOKENLESS_JOINS: "true",
      MAX__SERVICE_USERNAME: SERVICE.username,
      MAX__SERVICE_TOKEN: SERVICE.token,
      ...settings,
    });
    await server.start();
    return server;
  }

  /** Starts the process, and returns when the port takes connections. */
  async start() {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MAXTALK_"));
    const own = Object.entries(this.settings).map(([name, value]) => [`MAXTALK_${name}`, value]);
    const env = Object.fromEntries([...inherited, ...own]);
    this.#child = spawn(BINARY, [], { env, stdio: ["ignore", "pipe", "pipe"] });
    children.add(this.#child);
    // A server that a failed test left behind must not keep this process alive: the end of the process ends it.
    this.#child.unref();
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.unref();
      stream.setEncoding("utf8").on("data", (text) => (this.#log = (this.#log + text).slice(-LOG_BYTES_MAX)));
    }
    this.#exited = new Promise((resolve, reject) => {
      this.#child.once("error", reject).once("exit", (code, signal) => {
        children.delete(this.#child);
        resolve({ code, signal });
      });
    });
    let over = false;
    const early = this.#exited.finally(() => (over = true));
    const deadline = Date.now() + START_MS;
    while (!over && !(await accepts(this.port))) {
      assert.ok(Date.now() < deadline, `${BINARY} did not listen within ${START_MS} ms:\n${this.#log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (over) assert.fail(`${BINARY} stopped at the start, ${JSON.stringify(await early)}:\n${this.#log}`);
  }

  /** Sends a signal and waits for the end: exit code, or the signal that ended it, and how long it took. */
  async end(signal = "SIGTERM") {
    const sent = Date.now();
    this.#child.kill(signal);
    const late = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    const end = await this.#exited;
    clearTimeout(late);
    return { ...end, took_ms: Date.now() - sent };
  }

  /** Stops the server as an operator does, and holds it to a clean end: for the last line of a suite. */
  async stop() {
    const { code, signal } = await this.end();
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, `the stop was not clean:\n${this.#log}`);
    assert.ok(!this.#log.includes("panicked"), `something panicked:\n${this.#log}`);
  }
}

const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/**
 * A port that nobody has. It lies below those that the kernel gives to outgoing connections: a client that tries again
 * and again to reach a stopped server on one of those would, one day, connect to itself.
 */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise((resolve) => {
      const probe = createServer().once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
