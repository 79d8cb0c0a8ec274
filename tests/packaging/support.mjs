// What the tests of the packages share: commands with their output, commands of root, and a folder that becomes the whole
// world of a program.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The top of the repository. */
export const TOP = fileURLToPath(new URL("../..", import.meta.url));

/** Where cargo builds. */
export const TARGET = process.env.CARGO_TARGET_DIR ?? `${TOP}target`;

/** The program under test. */
export const PROGRAM = process.env.MAXTALK_BIN ?? `${TARGET}/release/maxtalk`;

/** How long a test waits for a server to do something. */
const DEADLINE_MS = 60_000;

/** Where programs are looked for; those of the system's administrator too. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Turns a command into one of root. */
const asRoot = (command) => (process.getuid() === 0 ? command : ["sudo", "-n", ...command]);

/** Runs a command. Returns its exit code and all that it wrote. */
export function tried(command, options = {}) {
  const [program, ...args] = command;
  const done = spawnSync(program, args, { encoding: "utf8", maxBuffer: 64 << 20, timeout: 900_000, ...options });
  if (done.error) throw new Error(`${command.join(" ")}: ${done.error.message}`);
  return { code: done.status ?? done.signal, stdout: done.stdout, stderr: done.stderr };
}

/** Runs a command that has to succeed. Returns its standard output. */
export function run(command, options) {
  const { code, stdout, stderr } = tried(command, options);
  assert.equal(code, 0, `${command.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}

/** Runs a command of root that has to succeed. */
export function runAsRoot(command, options) {
  try {
    return run(asRoot(command), options);
  } catch (error) {
    if (process.getuid() === 0) throw error;
    throw new Error(`this test needs root, or sudo without a password: ${error.message}`);
  }
}

/** Runs a command of root in a folder that it takes for the whole system. */
export function triedIn(root, command, { user = "0:0", env = {} } = {}) {
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return tried(asRoot(["env", "-i", `PATH=${PATH}`, ...set, "chroot", `--userspec=${user}`, root, ...command]));
}

/** The files that a program needs besides itself: its libraries, and none if it is static. */
export function librariesOf(program) {
  const { code, stdout } = tried(["ldd", program]);
  return code === 0 ? [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path) : [];
}

/** A program as the first process of a folder with processes of its own, as in a container. */
export class FirstProcess {
  /** What it has written. */
  log = "";

  constructor(root, command, { user, env }) {
    const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    // Where the tests run in a plain chroot, / is no mount point, and its mounts cannot be made private.
    const mounts = 'mount --make-rprivate / 2>/dev/null; mount -t proc proc "$0/proc"';
    const inside = `${mounts} && exec chroot --userspec="$1" "$0" "\${@:2}"`;
    const unshare = ["unshare", "--mount", "--propagation=unchanged", "--pid", "--fork", "--kill-child"];
    const box = [...unshare, "bash", "-c", inside, root, user];
    const [program, ...args] = asRoot(["env", "-i", `PATH=${PATH}`, ...set, ...box, ...command]);
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.log += text));
    }
    const exit = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve(code ?? signal)));
    this.end = exit.finally(() => {
      // A mount that was not private is here too.
      tried(asRoot(["umount", "--quiet", join(root, "proc")]));
    });
    process.once("exit", () => this.child.kill("SIGKILL"));
  }

  /** Sends a signal to the program itself, and returns how the program ended. */
  async stop(signal) {
    let pid = this.child.pid;
    for (;;) {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
      if (children === "") break;
      [pid] = children.split(" ");
    }
    runAsRoot(["kill", `-${signal}`, pid]);
    return this.end;
  }
}

/** Waits until something is true. */
export async function until(what, isTrue, log = () => "") {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const last = await isTrue();
    if (last === true) return;
    assert.ok(Date.now() < deadline, `${what}: not within ${DEADLINE_MS} ms; ${last}\n${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
