// The API of the admin listener against schemathesis, which makes requests of all kinds out of the OpenAPI document, good
// and bad, and checks every answer against it: `node fuzz_api.mjs SCHEMATHESIS`, the program. A few people listen
// meanwhile, so that there is something to ask about. The exit code is the program's, or 1 where the server did not end
// well.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { io } from "socket.io-client";

import { freePort } from "./daemon.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const KEY = "key-of-the-fuzzer";
const PEOPLE = 20;
const CONFIG = fileURLToPath(new URL("schemathesis.toml", import.meta.url));

/** What is not called: it ends the server. */
const EXCEPT = "/api/v1/drain";

const port = await freePort();
const settings = { ADMIN__LISTEN: `127.0.0.1:${port}`, ADMIN__TOKEN: KEY, DEMO__PEOPLE: `${PEOPLE}` };
const server = await Maxtalk.on(settings);
await server.start();
const people = Array.from({ length: PEOPLE }, (_, number) => listening(`u${number}`));
const args = ["--config-file", CONFIG, "--no-color", "run", `http://127.0.0.1:${port}/api/v1/openapi.json`];
args.push("--header", `Authorization: Bearer ${KEY}`, "--exclude-path", EXCEPT, "--max-examples", "25", "--seed", "1");
// It writes notes into its folder.
const folder = await mkdtemp(join(tmpdir(), "maxtalk-fuzz-"));
const child = spawn(process.argv[2], args, { cwd: folder, stdio: "inherit" });
process.exitCode = await new Promise((resolve, reject) => {
  child.once("error", reject).once("exit", (code) => resolve(code ?? 1));
});
await rm(folder, { recursive: true });
people.forEach((socket) => socket.disconnect());
await server.stop();

/** One of the crowd of the demo, who comes back when an operator closes the session. */
function listening(username) {
  const socket = io(`${server.url}/max`, { transports: ["websocket"], forceNew: true, reconnectionDelayMax: 100 });
  return socket.on("connect", () => socket.emit("join", { username, token: username, scope: "widgetcli" }));
}
