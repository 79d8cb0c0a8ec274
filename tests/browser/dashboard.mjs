/**
 * The dashboard in a headless Chromium, on a maxtalk under load: an operator gives the key, watches, turns a limit,
 * closes a session, and stays while the server goes and comes back. Some users have names that look like markup.
 *
 *     node dashboard.mjs     (CHROMIUM is the browser, /usr/bin/chromium; MAXTALK_BIN is maxtalk, target/debug/maxtalk)
 *
 * Ends with `N passed, M failed`.
 */
import assert from "node:assert/strict";

import { closeAll, enter, usual } from "../clients/client.mjs";
import { freePort } from "../clients/daemon.mjs";
import { Maxtalk } from "../clients/maxtalk.mjs";
import { Max } from "./max.mjs";
import { check, finish, launch, PATIENCE_MS, report } from "./support.mjs";

const KEY = "key-of-the-operator";
const MARKUP = `<img src=x onerror="window.pwned=1">`;
const RIGHT_TO_LEFT = "\u05dc\u05e7\u05d5\u05d7.\u0645\u0631\u062d\u0628\u0627";
/** A name of 256 bytes, the longest possible. Its first character reverses the text that follows. */
const LONG = `\u202e${"n".repeat(253)}`;
const USERS = ["ada", MARKUP, RIGHT_TO_LEFT, LONG];
const HOT = `hot ${MARKUP}`;
const SIZES = [
  [1920, 1080],
  [1280, 800],
  [390, 844],
];
const TALK_MS = 20;

const max = await Max.start();
max.create(HOT, ...USERS);
max.create("quiet", "ada", RIGHT_TO_LEFT);
const admin = new URL(`http://127.0.0.1:${await freePort()}/`);
const server = await Maxtalk.start(max.url, { ADMIN__LISTEN: admin.host, ADMIN__TOKEN: KEY });
const browser = await launch();

/** The faults of the page: errors in scripts or on the console, and requests of other servers. */
const complaints = [];
/** Set while the server is away or refuses something: Chromium writes that to the console. */
let excused = false;

async function open({ size: [width, height] = SIZES[0], key = KEY, fragment = "", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => {
    if (message.type() === "error" && !excused) complaints.push(message.text());
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== admin.origin) complaints.push(`it asked ${request.url()}`);
  });
  if (key) await page.addInitScript((key) => sessionStorage.setItem("maxtalk-admin-key", key), key);
  await page.goto(new URL(fragment, admin).href);
  if (key) await state(page, "live");
  return page;
}

const state = (page, wanted) => page.waitForSelector(`body[data-state=${wanted}]`);
const panel = (page, actor) => page.locator(`[data-actor=${actor}]`);
const limitOf = (page, actor) => panel(page, actor).getByRole("slider");
const figure = (page, tile) => page.locator(`[data-tile=${tile}] .figure`);
const drawer = (page) => page.locator("#drawer");

/** Returns when the page shows something. */
const shows = (locator, wanted) => locator.filter({ hasText: wanted }).first().waitFor();

/** Calls the API, as an operator without the dashboard. */
async function api(path) {
  const answer = await fetch(new URL(`api/v1/${path}`, admin), { headers: { Authorization: `Bearer ${KEY}` } });
  assert.equal(answer.status, 200, `${path} answers ${answer.status}`);
  return answer.json();
}

/** Returns a setting. Its value is TOML, in which numbers and texts look as in JSON. */
async function setting(wanted) {
  const { settings } = await api("settings");
  const found = settings.find(({ key }) => key === wanted);
  return { ...found, value: JSON.parse(found.value) };
}

/** Returns when the limit is in force, at the server and on the page. */
async function holds(page, actor, limit) {
  await page.waitForFunction(
    ([actor, limit]) => {
      const slider = document.querySelector(`[data-actor=${actor}] [role=slider]`);
      const isProposed = !document.querySelector(`[data-actor=${actor}] [data-part=past]`).hidden;
      return slider.ariaValueNow === String(limit) && !isProposed;
    },
    [actor, limit],
  );
  assert.equal((await setting(`mailbox.${actor}`)).value, limit);
}

async function noScrollSideways(page, what) {
  const [content, area] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(content <= area, `${what} is ${content} wide in ${area}`);
}

async function isAllText(page) {
  assert.equal(await page.locator("img").count(), 0);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
}

let talking, page, clients;

try {
  clients = await Promise.all(USERS.map((username) => enter(usual, server.url, username)));
  let messageID = 0;
  talking = setInterval(() => {
    for (const client of clients)
      client.emit("talk", { conversation: HOT, timestamp: Date.now(), messageID: ++messageID });
  }, TALK_MS);

  await check(
    "the page asks for the key, refuses a wrong one, and keeps the right one for this tab alone",
    async () => {
      page = await open({ key: null });
      const key = page.getByLabel("Key", { exact: true });
      await key.fill("not the key");
      await key.press("Enter");
      await page.getByText("The server does not accept this key.").waitFor();
      await key.fill(KEY);
      await key.press("Enter");
      await state(page, "live");
      assert.equal(await page.locator("#key").isVisible(), false);
      const kept = await page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage)]);
      assert.ok(kept[0].includes(KEY) && !kept[1].includes(KEY), JSON.stringify(kept));
    },
  );

  await check("it shows the load, in figures and in curves, and a panel per class of actor", async () => {
    await shows(figure(page, "sessions"), String(clients.length));
    await shows(figure(page, "talks"), /[1-9]/);
    await shows(figure(page, "deliveries"), /[1-9]/);
    await page.waitForSelector("[data-tile=talks] path.line[d*=L]", { state: "attached" });
    for (const actor of ["session", "conversation", "registry", "max"]) {
      await page.waitForSelector(`[data-actor=${actor}] path.line.first[d^=M]`, { state: "attached" });
      await limitOf(page, actor).waitFor();
    }
    await shows(panel(page, "conversation").locator(".kinds tr"), "talk");
    await shows(page.locator("#workers li"), /% busy/);
  });

  await check("names that look like markup, run from right to left, or are very long stay text", async () => {
    const link = page.locator("#conversations tbody a");
    await shows(link, HOT);
    await isAllText(page);
    for (const username of USERS) {
      const named = await open({ fragment: `#user/${encodeURIComponent(username)}` });
      const shown = username.replace("\u202e", "[U+202E]");
      await shows(named.locator("#drawer-title"), shown);
      assert.equal(await named.locator("#drawer-title").getAttribute("dir"), "auto");
      await shows(drawer(named).locator("dd a"), shown);
      await isAllText(named);
      await noScrollSideways(named, shown);
      await named.context().close();
    }
  });

  await check(
    "a limit is dragged, confirmed, and in force, and the receipt says how long and how to keep it",
    async () => {
      const { value: from } = await setting("mailbox.conversation");
      const slider = limitOf(page, "conversation");
      const { x, y, width, height } = await slider.boundingBox();
      const [left, top] = [x + width / 2, y + height / 2];
      await page.mouse.move(left, top);
      await page.mouse.down();
      await page.mouse.move(left, top + 30, { steps: 6 });
      await page.mouse.up();
      const to = Number(await slider.getAttribute("aria-valuenow"));
      assert.ok(to >= 1 && to < from, `dragged from ${from} down to ${to}`);
      assert.equal((await setting("mailbox.conversation")).value, from, "nothing changes before it is confirmed");
      const proposal = panel(page, "conversation").locator(".proposal");
      await proposal.getByRole("button", { name: "Set to" }).click();
      await proposal.getByRole("button", { name: "Done" }).waitFor();
      assert.match(await proposal.textContent(), /until the next start/);
      assert.equal(await proposal.locator("pre").textContent(), `[mailbox]\nconversation = ${to}`);
      await holds(page, "conversation", to);
      assert.equal((await setting("mailbox.conversation")).source, "admin");
      await proposal.getByRole("button", { name: "Undo" }).click();
      await holds(page, "conversation", from);
      await proposal.getByRole("button", { name: "Done" }).click();
    },
  );

  await check("a limit is turned by keys, and given up by Escape", async () => {
    const slider = limitOf(page, "registry");
    const { value: from } = await setting("mailbox.registry");
    const now = async () => Number(await slider.getAttribute("aria-valuenow"));
    await slider.focus();
    await page.keyboard.press("ArrowDown");
    assert.ok((await now()) < from);
    await page.keyboard.press("Escape");
    assert.equal(await now(), from);
    await page.keyboard.press("PageDown");
    const half = Math.round(from / 2);
    assert.equal(await now(), half);
    // The first Enter leads to the button, the second one presses it.
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    await holds(page, "registry", half);
  });

  await check("a limit is typed, and one that cannot be is refused in the words of the server", async () => {
    excused = true;
    const box = panel(page, "session");
    const { value: from } = await setting("mailbox.session");
    const input = box.getByRole("textbox");
    await input.fill("0");
    await box.getByRole("button", { name: "Set to 0" }).click();
    await shows(box.getByRole("alert"), "mailbox.session");
    assert.equal((await setting("mailbox.session")).value, from);
    await input.fill("24");
    await box.getByRole("button", { name: "Set to 24" }).click();
    await holds(page, "session", 24);
    excused = false;
  });

  await check("another setting is changed in its dialog", async () => {
    await page.getByRole("button", { name: "Change outbox.grace_ms" }).click();
    const dialog = page.locator("#changer");
    await dialog.getByRole("textbox").fill("10000");
    await dialog.getByRole("button", { name: "Set to 10,000" }).click();
    await dialog.getByRole("button", { name: "Done" }).click();
    await shows(page.locator("#settings tr", { hasText: "outbox.grace_ms" }), "admin");
    assert.equal((await setting("outbox.grace_ms")).value, 10_000);
  });

  await check("a table sorts and filters, and its rows are links", async () => {
    const table = page.locator("#conversations");
    const header = table.getByRole("columnheader", { name: "members" });
    await header.getByRole("button").click();
    assert.equal(await header.getAttribute("aria-sort"), "descending");
    await header.getByRole("button").click();
    assert.equal(await header.getAttribute("aria-sort"), "ascending");
    await table.getByRole("searchbox").fill("no such conversation");
    await table.getByText("Nothing fits the filter.").waitFor();
    await table.getByRole("searchbox").fill("HOT");
    const link = table.getByRole("link", { name: HOT });
    await link.focus();
    await page.keyboard.press("Enter");
    await shows(page.locator("#drawer-title"), HOT);
    await shows(drawer(page).locator("dt"), "members");
    const behind = () => page.locator("main").evaluate((main) => main.inert);
    assert.equal(await behind(), false, "the page beside it stays in reach");
    const { width, height } = page.viewportSize();
    await page.setViewportSize({ width: 390, height });
    await page.waitForFunction(() => document.querySelector("main").inert, undefined, { timeout: PATIENCE_MS });
    await page.setViewportSize({ width, height });
    await page.waitForFunction(() => !document.querySelector("main").inert, undefined, { timeout: PATIENCE_MS });
    await page.keyboard.press("Escape");
    assert.equal(await drawer(page).isVisible(), false);
    assert.equal(await link.evaluate((link) => link === document.activeElement), true, "the focus comes back");
  });

  await check("a session is found by its user and closed, after a question, and its client hears of it", async () => {
    const [ada] = clients;
    const found = await open({ fragment: "#user/ada" });
    await drawer(found).locator("dd a", { hasText: "ada" }).click();
    await drawer(found).getByRole("button", { name: "Close this session" }).click();
    const question = found.locator("#confirm");
    await question.getByRole("button", { name: "Cancel" }).click();
    assert.deepEqual(ada.all("disconnect"), [], "a question that is answered by no closes nothing");
    await drawer(found).getByRole("button", { name: "Close this session" }).click();
    excused = true;
    await question.getByRole("button", { name: "Close this session" }).click();
    await ada.next("disconnect");
    await drawer(found).getByText("It is not there any more.").waitFor();
    await found.context().close();
    excused = false;
    await shows(page.locator("#closed tbody tr"), "ada");
  });

  await check("the page says that the server has gone and how old its figures are, and finds it again", async () => {
    excused = true;
    await server.end();
    await state(page, "offline");
    await page.waitForSelector("body.old");
    await page.getByText(/The figures are \d+.s old\. (Next try in \d+ s|Trying now)\./).waitFor();
    assert.ok((await page.title()).startsWith("No connection"));
    await server.start();
    await page
      .getByRole("button", { name: "Try now" })
      .click()
      .catch(() => {});
    await state(page, "live");
    assert.equal(await page.locator("body.old").count(), 0);
    // The limits that were set lasted until this start.
    await page.waitForFunction(
      () => document.querySelector("[data-actor=session] [data-part=source]").textContent !== "admin",
    );
    excused = false;
    // The restarted server has another token for its dashboard. The page has asked for it.
    await limitOf(page, "session").focus();
    await page.keyboard.press("PageUp");
    const to = Number(await limitOf(page, "session").getAttribute("aria-valuenow"));
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    await holds(page, "session", to);
  });

  await check("a server that is silent is called overloaded", async () => {
    let silent = false;
    const context = await browser.newContext();
    const stalled = await context.newPage();
    await stalled.addInitScript((key) => sessionStorage.setItem("maxtalk-admin-key", key), KEY);
    await stalled.routeWebSocket(/live/, (socket) => {
      const far = socket.connectToServer();
      far.onMessage((frame) => silent || socket.send(frame));
    });
    await stalled.goto(admin.href);
    await state(stalled, "live");
    silent = true;
    await state(stalled, "stalled");
    await stalled.getByText("The server is overloaded").waitFor();
    silent = false;
    await state(stalled, "live");
    await context.close();
  });

  await check("no size and no scheme scrolls sideways", async () => {
    for (const size of SIZES) {
      for (const colorScheme of ["light", "dark"]) {
        const sized = await open({ size, colorScheme });
        await limitOf(sized, "max").waitFor();
        await noScrollSideways(sized, `the page for ${size} in ${colorScheme}`);
        await sized.context().close();
      }
    }
  });

  await check("the page complained of nothing and asked no other server", async () => {
    assert.deepEqual(complaints, []);
  });
} catch (error) {
  report("the preparation", error);
} finally {
  clearInterval(talking);
  await browser.close();
  await closeAll();
  max.stop();
}
await check("the server ends well", () => server.stop());
finish();
