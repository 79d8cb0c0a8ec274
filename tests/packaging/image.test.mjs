// The image without Docker: its last stage is read from the Dockerfile and made of a folder, in which the program is the
// first process and a user without a name. A program that is not static gets its libraries too, and nothing else.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, it } from "node:test";

import { freePort } from "../clients/daemon.mjs";
import { FirstProcess, PROGRAM, TOP, librariesOf, run, runAsRoot, triedIn, until } from "./support.mjs";

const { io } = createRequire(new URL("../clients/client.mjs", import.meta.url))("socket.io-client");

/** The instructions of the last stage of a Dockerfile: of each kind the last one. */
function lastStage(text) {
  const lines = text.replaceAll("\\\n", " ").split("\n").filter((line) => /^[A-Z]+ /.test(line));
  const stage = lines.slice(lines.findLastIndex((line) => line.startsWith("FROM ")));
  return Object.fromEntries(stage.map((line) => [line.split(" ")[0], line.slice(line.indexOf(" ") + 1)]));
}

const image = lastStage(readFileSync(`${TOP}.packaging/Dockerfile`, "utf8"));
const entry = JSON.parse(image.ENTRYPOINT);
const healthcheck = JSON.parse(image.HEALTHCHECK.split(" CMD ")[1]);

const root = mkdtempSync(join(tmpdir(), "maxtalk-image-"));
after(() => runAsRoot(["rm", "-rf", "--one-file-system", root]));
for (const [from, to] of [[PROGRAM, entry[0]], ...librariesOf(PROGRAM).map((path) => [path, path])]) {
  mkdirSync(join(root, dirname(to)), { recursive: true });
  run(["cp", "--dereference", from, join(root, to)]);
}
mkdirSync(join(root, "proc"));
run(["chmod", "755", root]);

const [port, admin] = [await freePort(), await freePort()];
const [listen, everywhere] = image.ENV.split("=");
const env = { [listen]: everywhere.replace(image.EXPOSE, port), MAXTALK_ADMIN__LISTEN: `127.0.0.1:${admin}` };
const inside = (command) => triedIn(root, command, { user: image.USER, env });

describe("the last stage of the image", { timeout: 600_000 }, () => {
  it("is empty but for the program, has a numeric user, and listens to all addresses", () => {
    assert.equal(image.FROM, "scratch");
    assert.match(image.USER, /^[1-9]\d*:[1-9]\d*$/);
    assert.equal(image.STOPSIGNAL, "SIGTERM");
    assert.equal(everywhere, `0.0.0.0:${image.EXPOSE}`);
    assert.deepEqual(healthcheck.slice(0, 2), [entry[0], "healthcheck"]);
  });

  it("starts no program but its own", () => {
    const { code, stdout, stderr } = inside([...entry, "--version"]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^maxtalk \d+\.\d+\.\d+/);
  });

  it("is unhealthy until it is ready, lets a client join, and ends well as the first process", async () => {
    const before = inside(healthcheck);
    assert.equal(before.code, 1, before.stdout);
    assert.match(before.stderr, /^maxtalk: http:\/\/127\.0\.0\.1:\d+ does not answer: .*\n$/);

    const server = new FirstProcess(root, [...entry, "--demo"], { user: image.USER, env });
    const healthy = () => {
      const { code, stdout, stderr } = inside(healthcheck);
      return (code === 0 && stdout === `http://127.0.0.1:${admin} is ready\n`) || stdout + stderr;
    };
    await until("healthy", healthy, () => server.log);

    const socket = io(`http://127.0.0.1:${port}/max`, { reconnection: false });
    const heard = new Promise((resolve, reject) => {
      socket.once("listening", resolve).once("refused", reject).once("connect_error", reject);
    });
    socket.once("connect", () => socket.emit("join", { username: "aina.roca" }));
    assert.ok((await heard).conversations.length > 0);
    socket.close();

    assert.equal(await server.stop("TERM"), 0, server.log);
    assert.equal(inside(healthcheck).code, 1);
  });
});
