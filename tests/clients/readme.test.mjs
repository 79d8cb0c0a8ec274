// The programs of the README, as they stand there: what they print is what the README says, and the whole back end works.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { launch } from "../browser/support.mjs";
import { closeAll, usual } from "./client.mjs";
import { Daemon, freePort } from "./daemon.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const README = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const VENVS = process.env.MAXTALK_TEST_VENVS ?? here("../../target/clients-venvs");
const DEADLINE_MS = 60_000;

/** The blocks of the README in a language. */
const blocks = (language) => [...README.matchAll(new RegExp("```" + language + "\\n([^]*?)```", "g"))].map(([, it]) => it);

const demo = await Maxtalk.on();
await demo.start();
const folder = await mkdtemp(join(tmpdir(), "maxtalk-readme-"));
await symlink(here("node_modules"), join(folder, "node_modules"));
afterEach(closeAll);
after(async () => {
  await demo.stop();
  await rm(folder, { recursive: true });
});

/** Writes a program of the README, whose server is that of the test. */
async function written(name, text) {
  const path = join(folder, name);
  await writeFile(path, text.replaceAll("127.0.0.1:6545", `127.0.0.1:${demo.port}`));
  return path;
}

/** Runs a program to its end, and returns what it prints. */
function output(program, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], timeout: DEADLINE_MS });
    let [said, complaints] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (complaints += text));
    child.once("error", reject).once("close", (code, signal) => {
      if (code === 0) resolve(said);
      else reject(new Error(`${program} ended with ${code ?? signal}: ${said}${complaints}`));
    });
  });
}

describe("the README", { timeout: 600_000 }, () => {
  it("has an example in JavaScript that prints what stands below it", async () => {
    const [program] = blocks("js");
    const [shown] = blocks("console");
    const [command, ...expected] = shown.trimEnd().split("\n");
    assert.equal(command, "$ node two.mjs");
    assert.deepEqual((await output("node", await written("two.mjs", program))).trimEnd().split("\n"), expected);
  });

  it("has an example in Python", async () => {
    const [program] = blocks("python");
    const python = join(VENVS, "python-socketio-5", "bin", "python");
    assert.match(await output(python, await written("one.py", program)), /^I hear \d+ conversations\n$/);
  });

  it("has a page of another origin", async () => {
    const [page] = blocks("html");
    const script = here("node_modules/socket.io-client/dist/socket.io.min.js");
    const text = page.replaceAll("127.0.0.1:6545", `127.0.0.1:${demo.port}`);
    const site = createServer(async (request, response) => {
      const isScript = request.url === "/socket.io.min.js";
      response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html; charset=utf-8");
      response.end(isScript ? await readFile(script) : text);
    });
    await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
    try {
      const browser = await launch();
      try {
        const tab = await browser.newPage();
        await tab.goto(`http://127.0.0.1:${site.address().port}/`);
        const heard = () => document.body.innerText.includes("I hear ");
        await tab.waitForFunction(heard, undefined, { timeout: DEADLINE_MS });
      } finally {
        await browser.close();
      }
    } finally {
      site.close();
    }
  });

  it("has a whole back end", async () => {
    const [, program] = blocks("js");
    const port = await freePort();
    const directory = new Daemon(port);
    const path = await written("directory.mjs", program.replace("8080", port));
    await directory.run("node", [path], process.env);
    const server = await Maxtalk.on({ MAX__URL: `http://127.0.0.1:${port}` });
    await server.start();
    try {
      const joined = async (username, token) => {
        const client = usual.open(server.url);
        await client.next("connect");
        const answer = await client.acked("join", { username, token });
        return answer.ok ? [client, (await client.next("listening")).conversations] : [client, answer.code];
      };
      const [ana, conversations] = await joined("ana", "secret-a");
      assert.deepEqual(conversations, ["c1", "c2"]);
      const [ben] = await joined("ben", "secret-b");
      assert.deepEqual(await ben.acked("talk", { conversation: "c1", messageID: 7 }), { ok: true });
      assert.equal((await ana.next("update")).messageID, 7);
      assert.deepEqual((await joined("ben", "secret-a"))[1], "unauthorized");
      await directory.end();
      assert.deepEqual((await joined("ana", "secret-a"))[1], "max_unavailable");
    } finally {
      await closeAll();
      await server.stop();
    }
  });
});
