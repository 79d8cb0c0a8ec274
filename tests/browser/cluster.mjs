/**
 * The panel of a cluster on the dashboard, in a headless Chromium: three nodes on a real Redis, one of which is killed.
 * Then Redis is. A server that is alone has no such panel.
 *
 *     node cluster.mjs     (CHROMIUM is the browser, /usr/bin/chromium; MAXTALK_BIN is maxtalk, target/debug/maxtalk)
 *
 * Ends with `N passed, M failed`.
 */
import assert from "node:assert/strict";

import { closeAll, enter, usual } from "../clients/client.mjs";
import { freePort } from "../clients/daemon.mjs";
import { Maxtalk } from "../clients/maxtalk.mjs";
import { Redis } from "../clients/redis.mjs";
import { noViolations } from "./axe.mjs";
import { Max } from "./max.mjs";
import { check, finish, launch, PATIENCE_MS, report } from "./support.mjs";

const SIZES = [
  [1440, 900],
  [375, 812],
];
/** Times with which a node soon notices what happens to others and to Redis. */
const QUICK = { CLUSTER__HEARTBEAT_MS: "100", CLUSTER__SILENT_MS: "1000", CLUSTER__RECONNECT_MS_MAX: "200" };

const max = await Max.start();
max.create("c", "ada");
const redis = await Redis.start();
const admin = `http://127.0.0.1:${await freePort()}/`;
const node = (name, more = {}) =>
  Maxtalk.start(max.url, { ...QUICK, CLUSTER__URL: redis.url, CLUSTER__NODE: name, ...more });
const [anna, bert, cleo] = await Promise.all([
  node("anna", { ADMIN__LISTEN: new URL(admin).host }),
  node("bert"),
  node("cleo"),
]);
const alone = await Maxtalk.start(max.url, { ADMIN__LISTEN: `127.0.0.1:${await freePort()}` });
const browser = await launch();

/** The faults of the page: errors in scripts or on the console. */
const complaints = [];

async function open(url, [width, height] = SIZES[0], options = {}) {
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(url);
  await page.waitForSelector("body[data-state=live]");
  await page.locator("#workers li").first().waitFor();
  return page;
}

const rowOf = (page, name) => page.locator("#cluster tbody tr", { hasText: name });

/** Waits until the cells of a row have these texts. */
async function has(page, name, cells) {
  for (const [at, wanted] of cells.entries()) {
    await rowOf(page, name).locator("th, td").nth(at).filter({ hasText: wanted }).waitFor();
  }
}

/** Looks at the page in all sizes and schemes: axe finds nothing, and nothing scrolls sideways. */
async function looksWell(state, isShown) {
  for (const size of SIZES) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(admin, size, { colorScheme });
      await isShown(page);
      const how = `${state}, ${size[0]} wide, ${colorScheme}`;
      await noViolations(page, how);
      const [content, area] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(content <= area, `${how}: ${content} wide in ${area}`);
      await page.context().close();
    }
  }
}

let page;
try {
  await enter(usual, bert.url, "ada");
  page = await open(admin);

  await check("it shows Redis, and the other nodes with their sessions", async () => {
    await has(page, redis.url, [redis.url, /^up$/, /^[\d.]+.(ms|s)$/, /^0 of 0$/, /^0$/]);
    await has(page, "bert", ["bert", /^\d+.s ago$/, /^\d+\.\d+\.\d+/, /^1$/, /^1$/]);
    await has(page, "cleo", ["cleo", /^\d+.s ago$/, /^\d+\.\d+\.\d+/, /^0$/, /^0$/]);
    await page.locator("#cluster-title", { hasText: "this node is anna" }).waitFor();
    assert.equal(await page.locator("#no-peers").isVisible(), false);
  });

  await check("a node that is killed is silent", async () => {
    await cleo.end("SIGKILL");
    await has(page, "cleo", ["cleo", /^silent, \d+.s ago$/]);
    assert.doesNotMatch(await rowOf(page, "bert").textContent(), /silent/);
  });

  await check("axe finds nothing wrong while Redis is up", () =>
    looksWell("up", (page) => has(page, "cleo", ["cleo", "silent"])),
  );

  await check("a Redis that is away says since when and why", async () => {
    await redis.stop();
    await has(page, redis.url, [redis.url, /^down for \d+.s: \w+/, /^–$/]);
    await page.locator("#warnings", { hasText: "The bus at" }).waitFor();
  });

  await check("axe finds nothing wrong while Redis is away", () =>
    looksWell("down", (page) => has(page, redis.url, [redis.url, "down for"])),
  );

  await check("a server that is alone has no such panel", async () => {
    const lonely = await open(`http://${alone.settings.ADMIN__LISTEN}/`);
    assert.equal(await lonely.locator("#cluster").isVisible(), false);
  });

  await check("the page complained of nothing", () => assert.deepEqual(complaints, []));
} catch (error) {
  report("the preparation", error);
} finally {
  await browser.close();
  await closeAll();
  max.stop();
}
await check("the servers end well", async () => {
  for (const server of [anna, bert, alone]) await server.stop();
});
finish();
