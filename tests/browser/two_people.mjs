/**
 * Two people in two windows of a headless Chromium, talking through a running maxtalk with its demo: what one writes
 * appears at the other's, once, at once, and as nothing but text.
 *
 *     node two_people.mjs http://127.0.0.1:6545        (or MAXTALK_URL; CHROMIUM is the browser, /usr/bin/chromium)
 *
 * The server may have any people and conversations, as long as two people share one. Ends with `N passed, M failed`.
 */
import assert from "node:assert/strict";

import { check, finish, launch, PATIENCE_MS, report } from "./support.mjs";

const given = process.argv[2] ?? process.env.MAXTALK_URL;
if (!given) {
  console.error("Usage: node two_people.mjs URL   (of a running maxtalk with its demo)");
  process.exit(2);
}
const base = new URL("./", given);
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

const browser = await launch();

/** What no window may do, collected over all of them: errors on the console or in scripts, requests elsewhere. */
const complaints = [];

/** Opens a window of its own, as on another computer; `route` prepares it before the page loads. */
async function open(fragment = "", { viewport = DESKTOP, colorScheme = "light", faulty = false, route } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, hasTouch: viewport === PHONE });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const where = () => `window ${fragment || "without person"}`;
  page.on("pageerror", (error) => complaints.push(`${where()}: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !faulty) complaints.push(`${where()}: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== base.origin) complaints.push(`${where()} asked ${request.url()}`);
  });
  page.on("websocket", (socket) => {
    if (new URL(socket.url()).host !== base.host) complaints.push(`${where()} connected to ${socket.url()}`);
  });
  await route?.(page);
  await page.goto(new URL(`./${fragment}`, base).href);
  return page;
}

const fragment = (person, id) => `#${[person.username, id].filter(Boolean).map(encodeURIComponent).join("/")}`;
const online = (page) => page.waitForSelector("#state[data-state=online]", { state: "attached" });
const item = (id) => `[data-conversation="${id}"]`;
const person = ({ username }) => `[data-person="${username}"]`;
const listens = ({ username }, is) => `[data-presence="${username}"][data-listening="${is}"]`;
/** The messages on the screen with exactly this text. */
const bubbles = (page, words) =>
  page.locator(".message", { has: page.locator(".bubble").getByText(words, { exact: true }) });
/** A text that no other run wrote: the server may have been used before. */
let count = 0;
const run = Date.now().toString(36);
const words = (text) => `${text} (${run}.${++count})`;

async function write(page, message) {
  await page.getByRole("textbox", { name: "Message" }).fill(message);
  await page.keyboard.press("Enter");
}

async function noScrollSideways(page, what) {
  const areas = await page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll(".scroll, .conversations-scroll")].map(
      ({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth],
    ),
  );
  for (const [content, area] of areas) assert.ok(content <= area, `${what} is ${content} wide in ${area}`);
}

/** The calls of MAX, for what the page must agree with. */
async function max(me, path) {
  const username = String.fromCharCode(...new TextEncoder().encode(me.username));
  const headers = { "X-Oauth-Username": username, "X-Oauth-Token": me.token, "X-Oauth-Scope": "widgetcli" };
  const answer = await fetch(new URL(`demo/max/${path}`, base), { headers });
  assert.equal(answer.status, 200, `${path} answers ${answer.status}`);
  const body = await answer.json();
  return body.items ?? body;
}

let people, anna, bert, shared, annas, a, b;

try {
  people = await (await fetch(new URL("demo/people", base))).json();
  // The pair with a conversation of their own, where there is one; else any two who share some.
  const pairs = [];
  for (const one of people) {
    for (const conversation of await max(one, "conversations")) {
      const names = conversation.participants.map((participant) => participant.username ?? participant);
      const other = people.find(({ username }) => username !== one.username && names.includes(username));
      if (other && !conversation.tags?.includes("archive")) pairs.push({ one, other, id: conversation.id, names });
    }
  }
  const pair = pairs.find(({ names }) => names.length === 2) ?? pairs[0];
  assert.ok(pair, "no two people of the demo share a conversation");
  [anna, bert, shared] = [pair.one, pair.other, pair.id];
  annas = (await max(anna, "conversations")).map(({ id }) => id);

  await check("the picker shows everybody, and picking one opens their conversations", async () => {
    a = await open();
    await a.waitForSelector(person(anna));
    assert.equal(await a.locator("[data-person]").count(), people.length);
    await a.click(person(anna));
    await online(a);
    await a.waitForSelector(item(shared));
    const shown = await a.locator("[data-conversation]").evaluateAll((all) => all.map((e) => e.dataset.conversation));
    assert.deepEqual(shown.sort(), [...annas].sort());
  });

  await check("a second window opens as somebody else by its address, in the same conversation", async () => {
    await a.click(item(shared));
    await a.waitForSelector(`[data-open="${shared}"]`);
    b = await open(fragment(bert, shared));
    await online(b);
    await b.waitForSelector(`[data-open="${shared}"]`);
    // A page that is loaded anew loses this, so it shows that what follows came without.
    for (const page of [a, b]) await page.evaluate(() => (window.sameLoad = true));
  });

  await check("each sees the other listening", async () => {
    await a.waitForSelector(listens(bert, true));
    await b.waitForSelector(listens(anna, true));
  });

  await check(
    "a message crosses without a reload, with its delivery time, and is not doubled at its author's",
    async () => {
      const message = words("Does this cross?");
      await write(a, message);
      const arrived = bubbles(b, message).first();
      await arrived.waitFor();
      assert.equal(await arrived.getAttribute("data-author"), anna.username);
      const delivery = arrived.locator("[data-delivery]");
      await delivery.waitFor();
      assert.match(await delivery.textContent(), /^(< 0\.1|\d+(\.\d)?) (ms|s)$/);
      const tookMs = Number(await delivery.getAttribute("data-delivery"));
      assert.ok(tookMs >= 0 && tookMs < PATIENCE_MS, `${tookMs} ms`);
      console.log(`        delivered in ${tookMs} ms`);
      // The author's own is final once maxtalk has acknowledged the talk and MAX has given the message an id.
      const own = bubbles(a, message);
      await own.first().locator("[data-ack]").waitFor();
      assert.equal(await own.count(), 1);
      assert.equal(await bubbles(b, message).count(), 1);
      assert.notEqual(await own.getAttribute("data-message"), "");
    },
  );

  await check("the answer crosses back, and several in a row arrive in order", async () => {
    const messages = ["It does.", "In order,", "each of them,", "once."].map(words);
    for (const message of messages) {
      await write(b, message);
      await bubbles(b, message).first().locator("[data-ack]").waitFor();
    }
    await bubbles(a, messages.at(-1)).first().waitFor();
    for (const page of [a, b]) {
      const shown = await page.locator(".bubble").allTextContents();
      assert.deepEqual(shown.slice(-messages.length), messages);
      assert.equal(await page.evaluate(() => window.sameLoad), true, "the page was loaded anew");
    }
  });

  await check("a message elsewhere is marked unread until it is looked at", async () => {
    const phone = await open(fragment(bert), { viewport: PHONE });
    await phone.waitForSelector(item(shared));
    await online(phone);
    const message = words("Are you looking?");
    await write(a, message);
    const mark = phone.locator(`${item(shared)} .unread`);
    await mark.waitFor();
    assert.equal(await mark.textContent(), "1");
    assert.match(await phone.title(), /^\(1\)/);
    await phone.click(item(shared));
    await bubbles(phone, message).first().waitFor();
    await mark.waitFor({ state: "hidden" });
    await phone.context().close();
  });

  await check("markup in a message stays text in both windows", async () => {
    const message = words(`<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>`);
    await write(a, message);
    for (const page of [b, a]) {
      await bubbles(page, message).first().waitFor();
      assert.equal(await page.locator("#chat img, #chat script").count(), 0);
      assert.equal(await page.evaluate(() => window.pwned), undefined);
    }
  });

  await check("markup in a name stays text", async () => {
    const name = `<img src=x onerror="window.pwned = 1">`;
    const page = await open(fragment(anna, shared), {
      route: (page) =>
        page.route("**/demo/people", (route) =>
          route.fulfill({ json: people.map((somebody) => ({ ...somebody, displayName: name })) }),
        ),
    });
    await online(page);
    await page.waitForSelector(`[data-open="${shared}"]`);
    assert.equal(await page.locator("#my-name").textContent(), name);
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    await page.context().close();
  });

  await check("a broken connection is noticed and renewed, and what was missed is there", async () => {
    let sockets = [];
    let blocked = false;
    const page = await open(fragment(bert, shared), {
      faulty: true,
      route: (page) =>
        page.routeWebSocket(/socket\.io/, (socket) => {
          if (blocked) return socket.close();
          socket.connectToServer();
          sockets.push(socket);
        }),
    });
    await online(page);
    await page.waitForSelector(listens(anna, true));
    blocked = true;
    for (const socket of sockets) await socket.close();
    await page.waitForSelector("#state[data-state=offline]", { state: "attached" });
    await page.getByRole("alert").filter({ hasText: "connection" }).waitFor();
    await page.getByText(/Reconnecting in \d+ s/).waitFor();
    const message = words("Said while you were away");
    await write(a, message);
    await bubbles(a, message).first().locator("[data-ack]").waitFor();
    assert.ok(await page.getByRole("button", { name: "Try now" }).isVisible());
    blocked = false;
    await online(page);
    await bubbles(page, message).first().waitFor();
    const later = words("Said since");
    await write(a, later);
    await bubbles(page, later).first().locator("[data-delivery]").waitFor();
    await page.context().close();
  });

  await check("news of a message that is already there adds its delivery time, and nothing else", async () => {
    const held = [];
    let release;
    const page = await open(fragment(bert, shared), {
      route: (page) =>
        page.routeWebSocket(/socket\.io/, (socket) => {
          const server = socket.connectToServer();
          release = () => held.splice(0).forEach((frame) => socket.send(frame));
          server.onMessage((frame) => (frame.includes(`["update"`) ? held.push(frame) : socket.send(frame)));
        }),
    });
    await online(page);
    await page.waitForSelector(`[data-open="${shared}"]`);
    const message = words("Found before it was told");
    await write(a, message);
    await bubbles(a, message).first().locator("[data-ack]").waitFor();
    await page.evaluate(() => window.dispatchEvent(new Event("focus")));
    await bubbles(page, message).first().waitFor();
    assert.equal(await bubbles(page, message).locator("[data-delivery]").count(), 0);
    release();
    await bubbles(page, message).locator("[data-delivery]").waitFor();
    assert.equal(await bubbles(page, message).count(), 1);
    await page.context().close();
  });

  await check("a reload keeps the person and the conversation", async () => {
    await b.reload();
    await online(b);
    await b.waitForSelector(`[data-open="${shared}"]`);
    assert.equal(await b.locator("#my-name").textContent(), bert.displayName ?? bert.username);
    await b.waitForSelector(listens(anna, true));
  });

  await check("a new conversation opens for its author, and is in the list of the others at once", async () => {
    const third = people.find((somebody) => ![anna, bert].includes(somebody));
    assert.ok(third, "the demo has only two people");
    const message = words("The three of us");
    await a.getByRole("button", { name: "New conversation" }).click();
    for (const { username } of [bert, third]) await a.check(`input[value="${username}"]`);
    await a.getByLabel("First message").fill(message);
    await a.getByRole("button", { name: "Start" }).click();
    await bubbles(a, message).first().waitFor();
    const id = decodeURIComponent(new URL(a.url()).hash.split("/")[1]);
    assert.ok(!annas.includes(id), "it is not a new one");
    await b.click(item(id));
    await bubbles(b, message).first().waitFor();
    await a.waitForSelector(listens(bert, true));
    await a.click(item(shared));
    await a.waitForSelector(`[data-open="${shared}"]`);
  });

  await check("who closes the window listens no more", async () => {
    await a.waitForSelector(listens(bert, true));
    await b.context().close();
    await a.waitForSelector(listens(bert, false));
  });

  await check("a refused join says why", async () => {
    const page = await open(fragment(anna), {
      faulty: true,
      route: (page) =>
        page.route("**/demo/people", (route) =>
          route.fulfill({ json: people.map((somebody) => ({ ...somebody, token: "not-the-token" })) }),
        ),
    });
    await page.waitForSelector("#state[data-state=refused]", { state: "attached" });
    await page.getByText(/The join was refused: unauthorized/).waitFor();
    await page.context().close();
  });

  await check("without a demo the page says what the server is and how to connect", async () => {
    const page = await open("", {
      faulty: true,
      route: (page) => page.route("**/demo/people", (route) => route.fulfill({ status: 404, body: "" })),
    });
    await page.getByRole("heading", { name: "Connect" }).waitFor();
    assert.ok((await page.locator("#about pre").textContent()).includes(`io("${base.origin}/max")`));
    await page.setViewportSize(PHONE);
    await noScrollSideways(page, "the page without a demo");
    await page.context().close();
  });

  await check("a phone shows one thing at a time, and never scrolls sideways", async () => {
    const long = words("Pneumonoultramicroscopicsilicovolcanoconiosis".repeat(4));
    await write(a, long);
    await bubbles(a, long).first().waitFor();
    const page = await open("", { viewport: PHONE, colorScheme: "dark" });
    await page.waitForSelector(person(bert));
    await noScrollSideways(page, "the picker");
    await page.tap(person(bert));
    await page.waitForSelector(item(shared));
    await noScrollSideways(page, "the list");
    await page.tap(item(shared));
    await bubbles(page, long).first().waitFor();
    await noScrollSideways(page, "the conversation");
    assert.equal(await page.locator(item(shared)).isVisible(), false);
    await page.getByRole("link", { name: "All conversations" }).click();
    await page.waitForSelector(item(shared));
    assert.equal(await page.getByRole("textbox", { name: "Message" }).isVisible(), false);
    await page.context().close();
  });

  await check("no window complained on its console or asked another server", async () => {
    assert.deepEqual(complaints, []);
  });
} catch (error) {
  report("the preparation", error);
} finally {
  await browser.close();
}

finish();
