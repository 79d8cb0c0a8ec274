// Every line of shell of the README and of the pages, but for those of the page on installing, which the tests of the
// packages run. A line runs in a folder of its own with maxtalk in the path. Servers are stopped once they listen, and
// long loads are made short.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { freePort } from "./daemon.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const BINARY = resolve(process.env.MAXTALK_BIN ?? here("../../target/debug/maxtalk"));
const DEADLINE_MS = 240_000;

/** Lines that are tested elsewhere: by whoever runs this, by the test of the README, and by that of the bench. */
const ELSEWHERE = [/^cargo run --release$/, /^tests\/run( quick)?$/, /^node directory\.mjs &$/, /--protocol chat\.toml/, /taskset/];

const ports = { admin: await freePort(), clients: await freePort() };
const server = await Maxtalk.on({ ADMIN__LISTEN: `127.0.0.1:${ports.admin}`, DEMO__PEOPLE: "1000" });
await server.start();
const folder = await mkdtemp(join(tmpdir(), "maxtalk-pages-"));
await symlink(BINARY, join(folder, "maxtalk"));
after(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

/** The commands of a text: lines of its blocks of shell, with continued lines joined and comments cut off. */
function commandsOf(text) {
  const blocks = [...text.matchAll(/```sh\n([^]*?)```/g)].map(([, block]) => block.replaceAll("\\\n", " "));
  const lines = blocks.flatMap((block) => block.split("\n"));
  return lines.map((line) => line.replace(/\s+#\s.*$/, "").replace(/\s+/g, " ").trim()).filter((line) => line && !line.startsWith("#"));
}

/** Runs a command by a shell. Returns its exit code and all that it has said; stops it when it says `last`. */
function run(command, env, last) {
  return new Promise((done, reject) => {
    const path = `${folder}:${process.env.PATH}`;
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MAXTALK_"));
    const child = spawn("bash", ["-c", `exec ${command}`], {
      ...{ cwd: folder, env: { ...Object.fromEntries(inherited), PATH: path, ...env } },
      ...{ stdio: ["ignore", "pipe", "pipe"], timeout: DEADLINE_MS, killSignal: "SIGKILL" },
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        said += text;
        if (last && said.includes(last)) child.kill("SIGTERM");
      });
    }
    child.once("error", reject).once("close", (code, signal) => done({ code: code ?? signal, said }));
  });
}

/** How a command is run: with other words, until it says something, or with other exit codes. */
function plan(command) {
  const running = { MAXTALK_ADMIN__LISTEN: `127.0.0.1:${ports.admin}` };
  if (/^maxtalk (set|healthcheck)/.test(command)) return { command, env: running };
  if (command === "maxtalk top") return { command: "maxtalk top --once", env: running };
  if (command.startsWith("curl")) return { command: `${command.replace("6546", ports.admin)} --fail`, env: {} };
  if (/--sweep/.test(command)) return { command: command.replace(/(maxtalk bench)/, "$1 --plan"), env: {} };
  if (/maxtalk bench/.test(command)) {
    // How fast this machine is shall decide nothing: one that is too slow is told so by the exit code 1.
    const short = command
      .replace(/--connections \d+/, "--connections 20")
      .replace(/--rate \d+/, "--rate 20")
      .replace(/--duration \w+/, "--duration 300ms")
      .replace("--find-knee", "--find-knee --rate 1 --warm-up 0s")
      .replace(/http:\/\/127\.0\.0\.1:6545/, server.url);
    return { command: short, env: {}, codes: [0, 1] };
  }
  if (/^maxtalk( --\S+ \S+| -c \S+)*$/.test(command)) {
    const env = { MAXTALK_SERVER__LISTEN: `127.0.0.1:${ports.clients}`, MAXTALK_ADMIN__LISTEN: "" };
    return { command, env, last: "listening on http://" };
  }
  return { command, env: {} };
}

const pages = (await readdir(here("../../src/docs"))).filter((name) => name.endsWith(".md") && name !== "install.md");
for (const page of ["../../README.md", ...pages.map((name) => `../../src/docs/${name}`)]) {
  const commands = commandsOf(await readFile(new URL(page, import.meta.url), "utf8"));
  describe(page.split("/").pop(), { timeout: 2 * DEADLINE_MS }, () => {
    for (const written of commands) {
      if (ELSEWHERE.some((it) => it.test(written))) continue;
      it(written, async () => {
        const { command, env, last, codes = [0] } = plan(written);
        // An assignment before a command is for the shell to read.
        const { code, said } = await run(/^[A-Z_]+=/.test(command) ? `env ${command}` : command, env, last);
        assert.ok(codes.includes(code), `${command}: ${code}\n${said}`);
        assert.ok(!last || said.includes(last), said);
      });
    }
  });
}
