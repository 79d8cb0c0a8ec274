// Runs a command against maxtalk with its demo MAX: `node with_demo.mjs COMMAND ARGUMENT...`, which gets the URL of the
// demo page as its last argument. Its exit code is the command's, or 1 where the server did not end well.

import { spawn } from "node:child_process";

import { Maxtalk } from "./maxtalk.mjs";

const server = await Maxtalk.on();
await server.start();
const [command, ...args] = process.argv.slice(2);
const child = spawn(command, [...args, `${server.url}/`], { stdio: "inherit" });
process.exitCode = await new Promise((resolve, reject) => {
  child.once("error", reject).once("exit", (code) => resolve(code ?? 1));
});
await server.stop();
