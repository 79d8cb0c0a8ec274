/**
 * Two people in two windows of a headless Firefox, on the demo page of a maxtalk of its own, and a third in Inspect.
 * Ends with `N passed, M failed`.
 *
 *     node firefox.mjs       (FIREFOX is the browser, /usr/bin/firefox-esr; MAXTALK_BIN is maxtalk, target/debug/maxtalk)
 */
import assert from "node:assert/strict";

import puppeteer from "puppeteer-core";

import { Maxtalk } from "../clients/maxtalk.mjs";
import { noViolations } from "./axe.mjs";
import { check, finish, PATIENCE_MS, report } from "./support.mjs";

const [AINA, BERNAT, CARLA] = ["aina.roca", "bernat.puig", "carla.vidal"];

const server = await Maxtalk.on();
await server.start();
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: process.env.FIREFOX || "/usr/bin/firefox-esr",
  headless: true,
  // Firefox 140 cannot change the size of a page.
  defaultViewport: null,
  args: ["--width=1280", "--height=900"],
});

/** Errors in scripts and on the console. */
const complaints = [];

/** Opens a window of its own, as on another computer. */
async function open(path) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(`${server.url}/${path}`);
  return page;
}

/** Waits until this is so in the page. Puppeteer's own way evaluates text there, which the pages forbid. */
async function until(page, isSo, ...args) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await page.evaluate(isSo, ...args))) {
    assert.ok(Date.now() < deadline, `in vain: ${isSo} of ${args}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until an element is on the screen. */
const seen = (page, selector) =>
  until(page, (selector) => document.querySelector(selector)?.checkVisibility(), selector);

async function click(page, selector) {
  await seen(page, selector);
  await page.click(selector);
}

const online = (page) => seen(page, "#state[data-state=online]");
/** Waits for the only message with exactly this text. */
const shown = (page, text) =>
  until(
    page,
    (text) => [...document.querySelectorAll(".bubble")].filter(({ textContent }) => textContent === text).length === 1,
    text,
  );

async function write(page, text) {
  await paste(page, text);
  await page.keyboard.press("Enter");
}

/** Puts text into the composer at once. */
const paste = (page, text) =>
  page.$eval(
    "#text",
    (field, text) => {
      field.focus();
      field.value = text;
      field.dispatchEvent(new Event("input"));
    },
    text,
  );

let a, b;

try {
  await check("somebody is picked, and online", async () => {
    a = await open("");
    await click(a, `[data-person="${AINA}"]`);
    await online(a);
    await seen(a, "[data-open]");
    const id = await a.$eval("[data-open]", ({ dataset }) => dataset.open);
    b = await open(`#${BERNAT}/${id}`);
    await online(b);
    await seen(b, `[data-open="${id}"]`);
    await seen(a, `[data-presence="${BERNAT}"][data-listening=true]`);
  });

  await check("messages cross both ways, with their delivery times", async () => {
    await write(a, "Does this cross?");
    await shown(b, "Does this cross?");
    await seen(b, "[data-delivery]");
    await write(b, "It does 👋");
    await shown(a, "It does 👋");
    await seen(a, "[data-delivery]");
    await seen(b, "[data-ack]");
  });

  await check("a new conversation reaches the other window at once", async () => {
    await click(a, "#new");
    for (const username of [BERNAT, CARLA]) await click(a, `input[value="${username}"]`);
    await a.type("#first", "The three of us");
    await click(a, "#starter .primary");
    await shown(a, "The three of us");
    await until(b, () => document.querySelector(".item-title").textContent === "Aina Roca, Carla Vidal");
    await click(b, "[data-conversation]");
    await shown(b, "The three of us");
  });

  await check("a long message makes the field grow, and is drawn whole", async () => {
    const height = () => a.$eval("#text", (field) => field.clientHeight);
    const before = await height();
    const long = "word ".repeat(60).trim();
    await paste(a, long);
    assert.ok((await height()) > before);
    await a.keyboard.press("Enter");
    await shown(b, long);
    await until(a, (before) => document.querySelector("#text").clientHeight <= before, before);
  });

  await check("the switch for light and dark works", async () => {
    const scheme = () => a.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
    const before = await scheme();
    await click(a, "#theme");
    assert.notEqual(await scheme(), before);
    await click(a, "#theme");
    assert.equal(await scheme(), before);
  });

  await check("Inspect joins and shows what it hears", async () => {
    const page = await open("inspect");
    await page.type("#username", CARLA);
    await click(page, "#join-now");
    await seen(page, "[data-room]");
    await seen(page, '[data-way="heard"][data-event="listening"]');
    await write(b, "Heard elsewhere?");
    await seen(page, '[data-way="heard"][data-event="update"]');
    await noViolations(page, "Inspect");
    await page.close();
  });

  await check("axe finds nothing wrong", async () => {
    await shown(a, "Heard elsewhere?");
    await noViolations(a, "the conversation");
  });

  await check("no window complained", async () => assert.deepEqual(complaints, []));
} catch (error) {
  report("the preparation", error);
} finally {
  await browser.close();
  await server.stop();
}

finish();
