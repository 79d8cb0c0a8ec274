// maxtalk as a child process on a free port. The binary is target/debug/maxtalk, or the one that MAXTALK_BIN names.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

import { Daemon, freePort } from "./daemon.mjs";
import { SERVICE } from "./max.mjs";

const BINARY = process.env.MAXTALK_BIN ?? fileURLToPath(new URL("../../target/debug/maxtalk", import.meta.url));

/** One maxtalk, which may be stopped and started again on the same port. */
export class Maxtalk extends Daemon {
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
      ...settings,
    });
    await server.start();
    return server;
  }

  /** Starts the process, and returns when the port takes connections. */
  async start() {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MAXTALK_"));
    const own = Object.entries(this.settings).map(([name, value]) => [`MAXTALK_${name}`, value]);
    await this.run(BINARY, [], Object.fromEntries([...inherited, ...own]));
  }

  /** Stops the server as an operator does, and holds it to a clean end: for the last line of a suite. */
  async stop() {
    const { code, signal } = await this.end();
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, `the stop was not clean:\n${this.log}`);
    assert.ok(!this.log.includes("panicked"), `something panicked:\n${this.log}`);
  }
}
