// The load bench against a chat server that is not maxtalk. The server and the file that describes its protocol are
// those of src/docs/bench.md, word by word.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Daemon, freePort } from "./daemon.mjs";

const BINARY = process.env.MAXTALK_BIN ?? fileURLToPath(new URL("../../target/debug/maxtalk", import.meta.url));
const PAGE = new URL("../../src/docs/bench.md", import.meta.url);
const PACKAGES = fileURLToPath(new URL("node_modules", import.meta.url));

/** Number of lines that the page promises. */
const LINES_MAX = 25;
/** Twelve people in three rooms of four, and in the lobby. */
const PLAN = ["--connections", "12", "--rate", "50", "--duration", "1s", "--warm-up", "0s", "--lag-max", "1h"];
/** The members of the lobby and of each room: each talk is heard by all of them, its talker included. */
const HEARD_BY = { lobby: 12, room: 4 };

let folder;
let program;

before(async () => {
  const page = await readFile(PAGE, "utf8");
  const block = (language, begin) => {
    const blocks = page.split("```").filter((text) => text.startsWith(`${language}\n`));
    const found = blocks.find((text) => text.includes(begin));
    assert.ok(found, `the page has no ${language} with ${begin}`);
    return found.slice(language.length + 1);
  };
  program = block("js", 'from "socket.io"');
  assert.ok(program.trim().split("\n").length <= LINES_MAX, `the server has more than ${LINES_MAX} lines`);
  folder = await mkdtemp(join(tmpdir(), "maxtalk-chat-"));
  await symlink(PACKAGES, join(folder, "node_modules"));
  await writeFile(join(folder, "chat.toml"), block("toml", "[update]"));
});
after(() => rm(folder, { recursive: true }));

/** Runs the bench against this program: its exit code, the report, and what it wrote to standard error. */
async function bench(text, ...more) {
  const server = new Daemon(await freePort());
  const file = join(folder, `chat-${server.port}.mjs`);
  await writeFile(file, text);
  await server.run(process.execPath, [file], { ...process.env, PORT: String(server.port) });
  try {
    const line = ["bench", "--url", server.url, "--protocol", join(folder, "chat.toml"), ...PLAN, "--json", ...more];
    const { code, stdout, stderr } = await promisify(execFile)(BINARY, line).then(
      (done) => ({ code: 0, ...done }),
      (failed) => failed,
    );
    return { code, report: stdout ? JSON.parse(stdout) : undefined, stderr };
  } finally {
    await server.end();
  }
}

/** The program with these texts replaced: pairs of the old and the new one. */
function changed(...pairs) {
  return pairs.reduce((text, [from, to]) => {
    assert.ok(text.includes(from), `the server has no ${from}`);
    return text.replace(from, to);
  }, program);
}

it("a chat server that delivers all is clean", { timeout: 600_000 }, async () => {
  const { code, report, stderr } = await bench(program);
  assert.ok(report, stderr);
  const { accounts, conversations, members_max, joins } = report;
  assert.deepEqual([report.clean, report.faults, report.errors], [true, [], []], JSON.stringify(accounts));
  assert.deepEqual([conversations, members_max, joins.count], [4, HEARD_BY.lobby, 12]);
  // The four conversations take turns.
  const all = (accounts.sent / 4) * (HEARD_BY.lobby + 3 * HEARD_BY.room);
  assert.ok(accounts.sent > 0 && Math.abs(accounts.expected - all) <= HEARD_BY.lobby, JSON.stringify(accounts));
  assert.equal(accounts.received, accounts.expected);
  assert.equal(report.circumstances.protocol, join(folder, "chat.toml"));
  assert.equal(code, report.valid ? 0 : 1);
});

it("polling clients are as good", { timeout: 600_000 }, async () => {
  const { report, stderr } = await bench(program, "--transports", "websocket=1,polling=1");
  assert.ok(report, stderr);
  assert.deepEqual([report.clean, report.faults, report.errors], [true, [], []], JSON.stringify(report.accounts));
});

it("a server that drops messages is not clean", { timeout: 600_000 }, async () => {
  const say = "io.to(room).emit(";
  const lossy = changed([say, `if ((globalThis.said = (globalThis.said ?? 0) + 1) % 10) ${say}`]);
  const { code, report, stderr } = await bench(lossy);
  assert.ok(report, stderr);
  const { accounts } = report;
  assert.equal(report.clean, false);
  assert.ok(accounts.lost > 0 && accounts.lost + accounts.received === accounts.expected, JSON.stringify(accounts));
  assert.equal(report.faults[0].name, "lost");
  assert.equal(code, 1);
});

it("a server that sends nothing back to the talker is not what the file says", { timeout: 600_000 }, async () => {
  const { report, stderr } = await bench(changed(["io.to(room).emit(", "socket.to(room).emit("]));
  assert.ok(report, stderr);
  // Each talk is lost to its talker.
  assert.deepEqual([report.clean, report.accounts.lost], [false, report.accounts.sent]);
});

it("churn is accounted for", { timeout: 600_000 }, async () => {
  const { report, stderr } = await bench(program, "--churn", "20");
  assert.ok(report, stderr);
  assert.deepEqual([report.clean, report.faults, report.errors], [true, [], []], JSON.stringify(report.accounts));
  assert.ok(report.joins.count > 12, "nobody came back");
});

it("a server may answer by acknowledgements, and number its conversations", { timeout: 600_000 }, async () => {
  const numbered = changed(
    ['socket.on("hello", (name) => {', 'socket.on("hello", (name, answer) => {'],
    ['["lobby", `room ${Number(name.match(/\\d+/)) % 3}`]', "[9, Number(name.match(/\\d+/)) % 3]"],
    ['socket.emit("welcome", { rooms });', "answer({ rooms });"],
    ['socket.on("bye", () => {', 'socket.on("bye", (answer) => {'],
    ['socket.emit("welcome", { rooms: [] });', "answer();"],
  );
  const file = join(folder, "chat.toml");
  const good = await readFile(file, "utf8");
  await writeFile(file, good.replace('event = "welcome"', 'answer = "ack"'));
  try {
    const { report, stderr } = await bench(numbered, "--churn", "20", "--transports", "websocket=1,polling=1");
    assert.ok(report, stderr);
    assert.deepEqual([report.clean, report.faults, report.errors], [true, [], []], JSON.stringify(report.accounts));
    assert.deepEqual([report.conversations, report.members_max], [4, HEARD_BY.lobby]);
    assert.ok(report.joins.count > 12 && report.accounts.received > 0, "nobody came back");
    const silent = await bench(numbered.replace("answer({ rooms });", "answer({ chats: rooms });"));
    assert.ok(silent.stderr.includes('join: answered with an acknowledgement that is not {"rooms": [id, ...]} (12)'), silent.stderr);
  } finally {
    await writeFile(file, good);
  }
});

it("a file that does not fit is told", { timeout: 600_000 }, async () => {
  const file = join(folder, "chat.toml");
  const good = await readFile(file, "utf8");
  const told = async (text) => {
    await writeFile(file, text);
    return (await bench(program)).stderr;
  };
  const likely = "In the file of --protocol, one of these keys is likely wrong: ";
  try {
    assert.match(await told(good.replace('namespace = "/"', "")), /the namespace \/max was refused/);
    const expected = 'join: answered with a welcome that is not {"chats": [id, ...]} (12)';
    const wrong = await told(good.replace('conversations = "rooms"', 'conversations = "chats"'));
    assert.ok(wrong.includes(expected), wrong);
    assert.ok(wrong.includes(`${likely}listening.conversations, listening.id`), wrong);
    const misspelt = await told(`${good}\nsende = "from"`);
    assert.match(misspelt, /chat\.toml \(flag --protocol\): line \d+: unknown field `sende`/);
  } finally {
    await writeFile(file, good);
  }
});

it("a file that does not fit is told after the run too", { timeout: 600_000 }, async () => {
  const file = join(folder, "chat.toml");
  const good = await readFile(file, "utf8");
  const table = [
    ['event = "said"', 'event = "update"', "talk.conversation. The server sent events that the file does not name: said ("],
    ['event = "say"', 'event = "talk"', "one of these keys is likely wrong: update.event, talk.event, "],
    ['id = "text"          #', 'id = "body"          #', "one of these keys is likely wrong: update.id, talk.id"],
    ['conversation = "room"\nid', 'conversation = "chat"\nid', "the key update.conversation is likely wrong"],
    ['room"\nid = "text"', 'room"\nid = "message"', "one of these keys is likely wrong: update.id, talk.id"],
    ['sender = "from"', 'sender = "by"', "one of these keys is likely wrong: update.sender, lowercase"],
    ["echo = true", "echo = false", "the key echo is likely wrong"],
  ];
  try {
    for (const [from, to, likely] of table) {
      assert.ok(good.includes(from), `the file has no ${from}`);
      await writeFile(file, good.replace(from, to));
      const { report, stderr } = await bench(program);
      assert.equal(report?.protocol_hint?.includes(likely), true, `${to}: ${report?.protocol_hint} ${stderr}`);
    }
  } finally {
    await writeFile(file, good);
  }
});

it("the server to compare with speaks maxtalk's own protocol", { timeout: 600_000 }, async () => {
  const server = new Daemon(await freePort());
  const path = fileURLToPath(new URL("peer.mjs", import.meta.url));
  await server.run(process.execPath, [path], { ...process.env, PORT: String(server.port), MEMBERS: "4" });
  try {
    const { stdout } = await promisify(execFile)(BINARY, ["bench", "--url", server.url, ...PLAN, "--json"]);
    const report = JSON.parse(stdout);
    assert.deepEqual([report.clean, report.conversations, report.members_max], [true, 3, 4]);
  } finally {
    await server.end();
  }
});
