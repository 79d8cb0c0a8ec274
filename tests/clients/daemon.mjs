// A server as a child process: started on a port of its own, ready when that takes connections, stopped by a signal. It
// never outlives this process.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";

const START_MS = 60_000;
const STOP_MS = 60_000;
const LOG_BYTES_MAX = 64 * 1024;

/** A program that listens, which may be stopped and started again on the same port. */
export class Daemon {
  #child;
  #exited;

  /** The end of what it has written to standard output and standard error. */
  log = "";

  constructor(port) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Starts the program, and returns when the port takes connections. */
  async run(program, args, env) {
    this.#child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    children.add(this.#child);
    // A server that a failed test left behind must not keep this process alive: the end of the process ends it.
    this.#child.unref();
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.unref();
      stream.setEncoding("utf8").on("data", (text) => (this.log = (this.log + text).slice(-LOG_BYTES_MAX)));
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
      assert.ok(Date.now() < deadline, `${program} did not listen within ${START_MS} ms:\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (over) assert.fail(`${program} stopped at the start, ${JSON.stringify(await early)}:\n${this.log}`);
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
}

const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/**
 * A port that nobody has. It lies below those that the kernel gives to outgoing connections: a client that tries again
 * and again to reach a stopped server on one of those would, one day, connect to itself.
 */
export async function freePort() {
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
