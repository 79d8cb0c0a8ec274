/**
 * Inspect in a headless Chromium, on a maxtalk with a directory that is not the demo: somebody without a line of code
 * joins, is refused, talks with an ordinary client, asks, leaves, and sees each packet. Ends with `N passed, M failed`.
 *
 *     node inspect.mjs       (CHROMIUM is the browser, /usr/bin/chromium; MAXTALK_BIN is maxtalk, target/debug/maxtalk)
 */
import assert from "node:assert/strict";

import { closeAll, enter, usual } from "../clients/client.mjs";
import { Maxtalk } from "../clients/maxtalk.mjs";
import { noViolations } from "./axe.mjs";
import { Max } from "./max.mjs";
import { check, finish, launch, PATIENCE_MS, report } from "./support.mjs";

const MARKUP = `<img src=x onerror="window.pwned=1">`;
const TOKEN = "t-ada";
const VIEWS = [
  [1440, 900],
  [375, 720],
];
/** As many events are kept. */
const EVENTS_MAX = 1000;

const max = await Max.start();
max.create("lovelace", "ada", "bob");
max.create(MARKUP, "ada", "bob");
const server = await Maxtalk.start(max.url, { PROTOCOL__PING_INTERVAL_MS: "400", SESSION__EVENTS_PER_SECOND_MAX: "0" });
const browser = await launch();

/** Errors in scripts and on the console, and requests of other servers. */
const complaints = [];

async function open(path, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    reducedMotion: "reduce",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url)) complaints.push(`it asked ${request.url()}`);
  });
  await page.goto(`${server.url}/${path}`);
  return page;
}

/** The lines about an event that was sent or heard. */
const lines = (page, way, event) => page.locator(`[data-way="${way}"][data-event="${event}"]`);
const room = (page, id) => page.locator(`[data-room="${id.replaceAll('"', '\\"')}"]`);

async function join(page, token = TOKEN) {
  await page.getByLabel("Username").fill("ada");
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Join" }).click();
}

async function joined(page) {
  await join(page);
  await page.locator("#state[data-state=online]").waitFor();
  await room(page, "lovelace").waitFor();
}

try {
  const bob = await enter(usual, server.url, "bob");

  await check("without a demo the first page says why, and leads here", async () => {
    const page = await open("");
    await page.getByText("so there is no demo here").waitFor();
    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Inspect" }).click();
    await page.getByRole("heading", { name: "Inspect" }).waitFor();
    assert.equal(await page.getByText("Here the directory is the demo").isVisible(), false);
    await page.context().close();
  });

  await check("a refused join says why and what to look at, and the token is shown nowhere", async () => {
    const page = await open("inspect");
    const token = page.getByLabel("Token");
    assert.deepEqual(await token.evaluate(({ type, autocomplete }) => [type, autocomplete]), ["password", "off"]);
    await join(page, "wrong-secret");
    await page.getByText("unauthorized: MAX does not accept").waitFor();
    await page.getByText("The directory answered 401 or 403 to this name with this token.").waitFor();
    await lines(page, "heard", "ack")
      .getByText(/^join refused, after \d+\.\d ms: unauthorized/)
      .waitFor();
    await lines(page, "sent", "join").getByText('"token":"•••"').waitFor();
    assert.ok(!(await page.content()).includes("wrong-secret"));
    assert.ok(!page.url().includes("wrong-secret"));
    await page.context().close();
  });

  const page = await open("inspect", { permissions: ["clipboard-read", "clipboard-write"] });

  await check("a join shows each packet, read and raw, with its time, and the conversations", async () => {
    await joined(page);
    await bob.next("joined", ({ conversation }) => conversation === "lovelace");
    await lines(page, "heard", "listening").getByText("this session listens to 2 conversations").waitFor();
    const line = lines(page, "sent", "join");
    assert.match(await line.locator("time").textContent(), /^\d\d:\d\d:\d\d\.\d{3}$/);
    assert.equal(await line.locator(".read").textContent(), "as ada, with a token");
    assert.match(await line.locator(".raw").textContent(), /^42\/max,\d+\["join",\{"username":"ada","token":"•••"/);
    await page.getByRole("heading", { name: "Conversations (2)" }).waitFor();
    await room(page, MARKUP).waitFor();
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  });

  await check("a talk is heard by an ordinary client, and its talk here", async () => {
    await room(page, "lovelace").getByRole("button", { name: "Talk lovelace" }).click();
    await page.getByLabel("messageID").fill("m1");
    await page.getByRole("button", { name: "Send talk" }).click();
    const update = await bob.next("update", ({ messageID }) => messageID === "m1");
    assert.deepEqual([update.username, update.conversation, typeof update.timestamp], ["ada", "lovelace", "number"]);
    await lines(page, "heard", "ack")
      .getByText(/^talk accepted, after \d+\.\d ms$/)
      .waitFor();
    bob.emit("talk", { conversation: "lovelace", timestamp: Date.now(), messageID: 7 });
    await lines(page, "heard", "update")
      .getByText(/^bob has news in lovelace: 7, \d+\.\d ms after the talk$/)
      .waitFor();
  });

  await check("asks and leaves have their effect", async () => {
    await room(page, "lovelace").getByRole("button", { name: "Ask lovelace" }).click();
    await room(page, "lovelace").getByText("ada, bob").waitFor();
    await room(page, MARKUP).getByRole("button", { name: "Leave" }).click();
    await bob.next("left", ({ conversation }) => conversation === MARKUP);
    await page.getByRole("heading", { name: "Conversations (1)" }).waitFor();
    await page.getByRole("button", { name: "Ask all" }).click();
    await lines(page, "sent", "ask").getByText("who listens in each conversation?").waitFor();
    await page.getByRole("button", { name: "Leave all" }).click();
    await page.getByText("This session listens to no conversation.").waitFor();
    await page.getByRole("button", { name: "Join again" }).click();
    await page.getByRole("heading", { name: "Conversations (2)" }).waitFor();
  });

  await check("a refused talk is marked, with its code", async () => {
    await page.getByLabel("Conversation", { exact: true }).fill("elsewhere");
    await page.getByRole("button", { name: "Send talk" }).click();
    const line = page.locator("[data-bad=true]").getByText(/^talk refused, after .*: forbidden/);
    await line.waitFor();
  });

  await check("heartbeats and raw text can be shown and hidden, and the list can be copied and cleared", async () => {
    const ping = lines(page, "heard", "ping").first();
    await ping.waitFor({ state: "attached" });
    assert.equal(await ping.isVisible(), false);
    await page.getByLabel("Heartbeats").check();
    await ping.waitFor();
    await page.getByLabel("Raw").uncheck();
    assert.equal(await page.locator(".raw").first().isVisible(), false);
    await page.getByRole("button", { name: "Copy" }).click();
    const pings = await lines(page, "heard", "ping").count();
    await page.getByText(/^\d+ copied$/).waitFor();
    // What comes next takes the answer away from nobody.
    await lines(page, "heard", "ping").nth(pings).waitFor();
    assert.match(await page.locator("#copied").textContent(), /^\d+ copied$/);
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.includes("as ada, with a token") && !copied.includes(TOKEN), copied);
    await page.getByLabel("Heartbeats").uncheck();
    await page.getByRole("button", { name: "Clear" }).click();
    assert.equal(await page.locator(".event:visible").count(), 0);
    assert.equal(await page.locator("#copied").textContent(), "");
  });

  await check("a list that grows lets go of its beginning, and stays where its reader is", async () => {
    for (let n = 0; n < EVENTS_MAX + 200; n += 1) bob.emit("talk", { conversation: "lovelace", messageID: `n${n}` });
    await page
      .locator(".read")
      .getByText(`bob has news in lovelace: "n${EVENTS_MAX + 199}"`)
      .waitFor();
    await page.getByText(`${EVENTS_MAX}, older ones are gone`).waitFor();
    assert.ok((await page.locator(".event").count()) <= EVENTS_MAX);
    await page.locator("#scroll").evaluate((scroll) => (scroll.scrollTop = 0));
    await page.locator("#latest").waitFor();
    bob.emit("talk", { conversation: "lovelace", messageID: "last" });
    await page.locator("#latest-new").getByText(/new/).waitFor();
    await page.locator("#latest").click();
    await page.locator("#latest").waitFor({ state: "hidden" });
  });

  await check("a disconnect ends the session, and a network that goes is told", async () => {
    await page.getByRole("button", { name: "Disconnect" }).click();
    await bob.next("left", ({ conversation }) => conversation === "lovelace");
    await page.getByText("Not connected").waitFor();
    await page.getByText("closed by this page").waitFor();
    await page.context().close();
  });

  for (const [width, height] of VIEWS) {
    for (const colorScheme of ["light", "dark"]) {
      const how = `at ${width} px, ${colorScheme}`;
      await check(`axe finds nothing wrong, ${how}`, async () => {
        const about = await open("", { viewport: { width, height }, colorScheme });
        await about.getByRole("heading", { name: "Connect" }).waitFor();
        await noViolations(about, `the page without a demo, ${how}`);
        await about.context().close();
        const page = await open("inspect", { viewport: { width, height }, colorScheme });
        await noViolations(page, `the empty inspector, ${how}`);
        await join(page, "wrong");
        await page.locator("#refusal").waitFor();
        await noViolations(page, `a refused join, ${how}`);
        await joined(page);
        await page.getByRole("button", { name: "Ask all" }).click();
        await room(page, "lovelace").getByText("ada, bob").waitFor();
        await page.getByLabel("Heartbeats").check();
        await noViolations(page, `a session, ${how}`);
        const [content, area] = await page.evaluate(() => {
          const { scrollWidth, clientWidth } = document.documentElement;
          return [scrollWidth, clientWidth];
        });
        assert.ok(content <= area, `${content} px in ${area}`);
        await page.context().close();
      });
    }
  }

  await check("no window complained or asked another server", async () => assert.deepEqual(complaints, []));
} catch (error) {
  report("the preparation", error);
} finally {
  await browser.close();
  await closeAll();
  await server.stop();
  max.stop();
}

finish();
