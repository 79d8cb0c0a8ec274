/**
 * The widget of 2013 in a headless Chromium, with the very builds of Socket.IO's client of its time, on pages of
 * maxtalk's own origin and of another site, over every transport; and the younger clients by JSONP. Beside each of them
 * is somebody with the client of today, and they hear each other.
 *
 *     node widget.mjs        (CHROMIUM is the browser, /usr/bin/chromium; MAXTALK_BIN is maxtalk, target/debug/maxtalk)
 *
 * All columns, a client on a page over a transport each, go through a case at the same time. Ends with
 * `N passed, M failed`.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import { closeAll, enter, usual } from "../clients/client.mjs";
import { Maxtalk } from "../clients/maxtalk.mjs";
import { Max } from "./max.mjs";
import { check, errorOf, finish, Inbox, launch, PATIENCE_MS, report } from "./support.mjs";

/** Every width of UTF-8, what ends a line for JavaScript alone, and what the framings have to escape. */
const TEXT = "é€😀 \u2028\u2029 a\nb \\n \"'</script>&+%00";
const TIMESTAMP = 1370000000000;

const FILES = "/widget-of-2013/";
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };
const LEGACY = ["0.8.2", "0.9.17"];
const CLIENTS = {
  "0.8.2": "socket.io-client-0.8",
  "0.9.17": "socket.io-client-0.9",
  "1.7.4": "socket.io-client-1",
  "2.5.0": "socket.io-client-2",
};

/** How long an old client hears nothing before it gives a connection up, by what the server told it. */
const CLOSE_TIMEOUT_MS = 60_000;
/**
 * When an old client tries to come back: not before the test lets it, and once. After its usual half a second 0.8.2 may
 * try again while it is still about it, and then connects twice.
 */
const RECONNECT_MS = CLOSE_TIMEOUT_MS + 40_000;

/** A page that polls by scripts may take until the first poll's end to be loaded. */
const EARLY = { waitUntil: "commit" };

/** What a path below FILES has: of a folder for each client, the page, its script and the client's. */
async function file(path) {
  const [version, name] = path.slice(FILES.length).split("/");
  const source = name === "client.js" ? `node_modules/${CLIENTS[version]}/dist/socket.io.js` : name;
  return { contentType: TYPES[name.split(".").pop()], body: await readFile(new URL(source, import.meta.url)) };
}

/** The site of another origin, which has a page for each client. */
async function startElsewhere() {
  const site = createServer(async (request, response) => {
    const { contentType, body } = await file(request.url);
    response.writeHead(200, { "content-type": contentType }).end(body);
  });
  await new Promise((resolve) => site.listen(0, resolve));
  return { url: `http://localhost:${site.address().port}`, stop: () => (site.close(), site.closeAllConnections()) };
}

/** A client on a page over a transport, in a browser of its own, and somebody who shares its conversations. */
class Column {
  #inbox;
  /** Whether the server is away, and so complaints about that are in order. */
  away = false;
  complaints = [];
  /** What the page asked of the server, and said over which WebSockets, in order. */
  handshakes = [];
  transports = new Set();
  websockets = 0;
  sent = [];

  constructor(index, version, origin, transport) {
    this.name = `${version}, ${transport}, ${origin} origin`;
    this.version = version;
    this.sameOrigin = origin === "same";
    this.transport = transport;
    this.legacy = LEGACY.includes(version);
    this.username = `messi.é€😀.${index}`;
    this.other = `xavi.${index}`;
    [this.first, this.second] = [`first.${index}`, `second.${index}`];
    this.#inbox = new Inbox(this.name);
  }

  async open(browser) {
    const site = this.sameOrigin ? server.url : elsewhere.url;
    const context = await browser.newContext();
    // To Chromium a page that Playwright makes up comes from nowhere, and so from no neighbour of this machine.
    if (this.sameOrigin) await context.grantPermissions(["local-network-access"]).catch(() => {});
    const page = (this.page = await context.newPage());
    page.setDefaultTimeout(PATIENCE_MS);
    await page.clock.install();
    page.on("pageerror", (error) => this.complaints.push(error.stack));
    page.on("console", (message) => {
      if (message.type() === "error" && !this.away) this.complaints.push(message.text());
    });
    page.on("request", (request) => this.#asked(request));
    page.on("websocket", (socket) => {
      this.websockets += 1;
      this.transports.add("websocket");
      socket.on("framesent", ({ payload }) => this.sent.push(payload));
    });
    await page.exposeFunction("heard", (event, data) => {
      if (event !== "error" || !this.away) this.#inbox.heard(event, data);
    });
    await page.addInitScript((settings) => Object.assign(window, { settings }), {
      url: server.url,
      username: this.username,
      transport: this.transport,
      options: this.legacy
        ? { "reconnection delay": RECONNECT_MS }
        : { forceJSONP: true, transports: ["polling"], upgrade: false },
      events: ["connect", "disconnect", "listening", "joined", "left", "update", "people", "refused", "error"],
    });
    if (this.sameOrigin) {
      await page.route(`**${FILES}**`, async (route) =>
        route.fulfill(await file(new URL(route.request().url()).pathname)),
      );
    }
    await page.goto(`${site}${FILES}${this.version}/widget.html`, EARLY);
  }

  #asked(request) {
    const url = new URL(request.url());
    if (!url.pathname.startsWith("/socket.io/")) return;
    const [, , , transport] = url.pathname.split("/");
    const handshake = this.legacy ? !transport : !url.searchParams.has("sid");
    if (handshake) this.handshakes.push(request.resourceType());
    else this.transports.add(transport || `${url.searchParams.get("transport")} by ${request.resourceType()}`);
    // A form has the text in its only field.
    const body = request.postData();
    if (body !== null) this.sent.push(new URLSearchParams(body).get("d") ?? body);
  }

  /**
   * Stops the page's clock. It can only be stopped at a time to come, so the page misses some seconds. Where that time
   * is over, on a busy machine or in a frame whose clock is ahead of the page's, Playwright complains of a way to the
   * past, but has stopped the clock.
   */
  async pause() {
    this.away = true;
    const soon = (await this.page.evaluate(() => Date.now())) + 5_000;
    await this.page.clock.pauseAt(soon).catch((error) => {
      if (!/to the past/.test(error.message)) throw error;
    });
  }

  /** The data of the next event of this name that the widget heard or will hear. */
  next(event) {
    return this.#inbox.next(event);
  }

  /** Shows that the widget was told none of these. */
  hasHeardNo(...events) {
    for (const event of events)
      assert.deepEqual(this.#inbox.all(event), [], `${this.name} should have heard no ${event}`);
  }
}

const talk = (conversation, messageID) => ({ conversation, timestamp: TIMESTAMP, messageID });

const max = await Max.start();
const server = await Maxtalk.start(max.url);
const elsewhere = await startElsewhere();
const browser = await launch();

const columns = [];
const add = (...column) => columns.push(new Column(columns.length, ...column));
for (const version of LEGACY) {
  for (const origin of ["same", "cross"]) {
    for (const transport of ["websocket", "xhr-polling", "jsonp-polling"]) add(version, origin, transport);
  }
}
for (const version of ["1.7.4", "2.5.0"]) add(version, "cross", "JSONP");

/** One case in all columns at once. A column that failed is out: what comes next would only wait in vain. */
async function onEach(name, test) {
  const errors = await Promise.all(columns.map((column) => column.failed ?? errorOf(() => test(column))));
  for (const [index, column] of columns.entries()) {
    report(`${column.name}: ${name}`, errors[index]);
    if (errors[index]) column.failed ??= `not tried after "${name}" failed`;
  }
}

/** What the widget does to hear about a new conversation: a bare username, and the talk in the same breath. */
function joinAndTalk({ page, username }, message) {
  const emit = ([username, message]) => {
    widget.socket.emit("join", username);
    widget.socket.emit("talk", message);
  };
  return page.evaluate(emit, [username, message]);
}

/** Each hears what the other says, who is told that it was taken. */
async function bothHearEachOther(column) {
  const { page, peer, first, username, other } = column;
  const said = talk(first, `from the other: ${TEXT}`);
  assert.deepEqual(await peer.acked("talk", said), { ok: true });
  assert.deepEqual(await column.next("update"), { username: other, ...said });
  const answer = talk(first, `from the widget: ${TEXT}`);
  await page.evaluate((answer) => widget.socket.emit("talk", answer, (ack) => heard("ack", ack)), answer);
  assert.deepEqual(await peer.next("update"), { username, ...answer });
  assert.deepEqual(await column.next("ack"), { ok: true });
}

/** The other hears this of the widget's user in both conversations, which know no order among each other. */
async function isHeardInBoth(event, { peer, first, second, username }) {
  const heard = [await peer.next(event), await peer.next(event)];
  heard.sort((a, b) => (a.conversation < b.conversation ? -1 : 1));
  assert.deepEqual(heard, [
    { conversation: first, username },
    { conversation: second, username },
  ]);
}

try {
  await onEach("a join before the reply to the connect is answered, and the other hears of it", async (column) => {
    const { first, username, other } = column;
    max.create(first, username, other);
    column.peer = await enter(usual, server.url, other);
    await column.open(browser);
    assert.deepEqual(await column.next("listening"), { conversations: [first] });
    assert.deepEqual(await column.peer.next("joined"), { conversation: first, username });
    await column.next("connect");
    if (column.legacy) assert.match(column.sent.slice(0, 2).join(), /1::\/max.*5::\/max:.*join/s);
  });

  await onEach("each hears the other's text as it was said", bothHearEachOther);

  await onEach("all io.connect to the server share one connection", async (column) => {
    const { page, legacy, first, username, other } = column;
    await column.next("connect of the root");
    await column.next("listening again");
    await page.evaluate((first) => widget.again.emit("ask", { conversation: first }), first);
    const people = [username, other].sort();
    assert.deepEqual(await column.next("people"), { conversation: first, inroom: people.length, people });
    // What cannot ask another server plainly is a script.
    const scripted = !column.sameOrigin && column.version !== "0.9.17";
    assert.deepEqual(column.handshakes, [scripted ? "script" : "xhr"]);
    assert.equal(column.websockets, column.transport === "websocket" ? 1 : 0);
    const transports = legacy ? [column.transport] : ["polling by document", "polling by script"];
    assert.deepEqual([...column.transports].sort(), transports);
  });

  await onEach(
    "a join by the bare username enters a new conversation, and a talk with it goes there",
    async (column) => {
      const { peer, first, second, username, other } = column;
      max.create(second, username, other);
      peer.emit("join", peer.join);
      assert.deepEqual(await peer.next("listening"), { conversations: [first, second] });
      const message = talk(second, TEXT);
      await joinAndTalk(column, message);
      assert.deepEqual(await peer.next("joined"), { conversation: second, username });
      assert.deepEqual(await peer.next("update"), { username, ...message });
      assert.deepEqual(await column.next("listening"), { conversations: [first, second] });
    },
  );

  for (const signal of ["SIGTERM", "SIGKILL"]) {
    // No timer of a page goes off while the server is away, however long that takes.
    await Promise.all(columns.filter(({ failed }) => !failed).map((column) => column.pause()));
    await server.end(signal);

    await onEach(`the end of the server by ${signal} is noticed, and what is said then is kept`, async (column) => {
      const { page, version, first } = column;
      // The end of its transport alone tells this one nothing.
      if (version === "0.8.2") await page.clock.fastForward(CLOSE_TIMEOUT_MS);
      await column.next("disconnect");
      column.sent = [];
      await joinAndTalk(column, talk(first, `after ${signal}`));
      assert.doesNotMatch(column.sent.join(), /talk/);
    });

    await server.start();
    await onEach(`after ${signal} the widget comes back by itself, and what was kept arrives`, async (column) => {
      const { page, peer, legacy, username, first, second } = column;
      assert.deepEqual(await peer.next("listening"), { conversations: [first, second] });
      await page.clock.fastForward(RECONNECT_MS);
      await page.clock.resume();
      await column.next("connect");
      column.away = false;
      assert.deepEqual(await column.next("listening"), { conversations: [first, second] });
      await isHeardInBoth("joined", column);
      assert.deepEqual(await peer.next("update"), { username, ...talk(first, `after ${signal}`) });
      if (legacy) assert.match(column.sent.join(), /join.*talk.*1::\/max/s);
      await bothHearEachOther(column);
    });
  }

  await onEach("after disconnect() of the namespace the others hear that the user left", async (column) => {
    const { page, peer } = column;
    // A server that ends may have had the time to say so of the widget.
    for (const _ of peer.all("left")) await peer.next("left");
    await page.evaluate(() => widget.socket.disconnect());
    await isHeardInBoth("left", column);
  });

  await onEach("the page loaded anew is back, and by disconnect() of the connection gone", async (column) => {
    const { page, first, second } = column;
    await page.reload(EARLY);
    await isHeardInBoth("joined", column);
    assert.deepEqual(await column.next("listening"), { conversations: [first, second] });
    if (column.legacy) {
      // What it emits while its last POST is under way it keeps, and the goodbye would never be sent.
      await page.waitForFunction(() => !widget.socket.socket.doBuffer);
      await page.evaluate(() => widget.socket.socket.disconnect());
    } else {
      await page.evaluate(() => widget.socket.io.close());
    }
    await isHeardInBoth("left", column);
  });

  await onEach("nothing was refused, and no page complained", async (column) => {
    column.hasHeardNo("refused", "error", "update");
    assert.deepEqual(column.complaints, []);
  });
} catch (error) {
  report("the preparation", error);
} finally {
  await browser.close();
  await closeAll();
  elsewhere.stop();
  max.stop();
}
await check("the server ends well", () => server.stop());
finish();
