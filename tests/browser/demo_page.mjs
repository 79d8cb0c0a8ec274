/**
 * The demo page in a headless Chromium, against a maxtalk of its own: what it shows of people and their messages, what
 * becomes of it when the network or the server goes, and that everybody can use it. Ends with `N passed, M failed`.
 *
 *     node demo_page.mjs     (CHROMIUM is the browser, /usr/bin/chromium; MAXTALK_BIN is maxtalk, target/debug/maxtalk)
 */
import assert from "node:assert/strict";

import { Maxtalk } from "../clients/maxtalk.mjs";
import { noViolations } from "./axe.mjs";
import { check, finish, Inbox, launch, PATIENCE_MS, report } from "./support.mjs";

const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 375, height: 720 };
const [AINA, BERNAT, CARLA, DIDAC, ELENA] = ["aina.roca", "bernat.puig", "carla.vidal", "dídac.muñoz", "elena.soler"];
/** The longest message of the demo, in characters. */
const CHARS_MAX = 2000;

const server = await Maxtalk.on();
await server.start();
const browser = await launch();

/** Errors in scripts and on the console. Windows whose network fails are allowed to complain. */
const complaints = [];

async function open(fragment = "", { faulty = false, route, ...options } = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => {
    if (message.type() === "error" && !faulty) complaints.push(message.text());
  });
  await route?.(page);
  await page.goto(`${server.url}/${fragment}`);
  return page;
}

const fragment = (...parts) => `#${parts.map(encodeURIComponent).join("/")}`;
const state = (page, name) => page.waitForSelector(`#state[data-state=${name}]`, { state: "attached" });
const item = (id) => `[data-conversation="${id}"]`;
const opened = (page, id) => page.waitForSelector(`[data-open="${id}"]`);
const bubble = (page, text) => page.locator(".bubble").getByText(text, { exact: true });
const message = (page, text) => page.locator(".message", { has: bubble(page, text) });

/** Opens a window as somebody, who is online, at one of the conversations if it is named. */
async function as(username, id, options) {
  const page = await open(id ? fragment(username, id) : fragment(username), options);
  await state(page, "online");
  if (id) await opened(page, id);
  return page;
}

async function write(page, text) {
  await page.locator("#text").fill(text);
  await page.keyboard.press("Enter");
  await bubble(page, text).waitFor();
}

/** Calls the demo MAX as one of its people, and returns the JSON of the answer. */
async function max(username, path, body) {
  const people = await (await fetch(`${server.url}/demo/people`)).json();
  const { token } = people.find((person) => person.username === username);
  const headers = {
    "X-Oauth-Username": String.fromCharCode(...new TextEncoder().encode(username)),
    ...{ "X-Oauth-Token": token, "X-Oauth-Scope": "widgetcli" },
  };
  const request = body && { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(`${server.url}/demo/max/${path}`, { headers, ...request });
  assert.ok(answer.ok, `${path} answers ${answer.status}`);
  return answer.json();
}

/** Starts a group by the calls of MAX, as somebody without a page does, and returns its id. */
async function begin(participants, content = "hello", displayName) {
  const context = { objectType: "conversation", participants, displayName };
  const started = await max(participants[0], "conversations", { contexts: [context], object: { content } });
  return started.contexts[0].id;
}

/** The id of the conversation of exactly these people. */
async function conversationOf(...usernames) {
  const is = ({ participants }) =>
    participants.length === usernames.length && participants.every(({ username }) => usernames.includes(username));
  return (await max(usernames[0], "conversations")).find(is).id;
}

const pair = await conversationOf(AINA, BERNAT);
const hike = await conversationOf(AINA, BERNAT, CARLA, DIDAC, ELENA);

async function newConversations() {
  await check("a new conversation reaches the other window at once, unread and on top", async () => {
    const [a, b] = [await as(AINA, pair), await as(BERNAT, pair)];
    await a.click("#new");
    for (const username of [BERNAT, CARLA]) await a.check(`input[value="${username}"]`);
    await a.getByLabel("Name of the group").fill("Sunday paddle");
    await a.getByLabel("First message").fill("Who has a boat?");
    await a.getByRole("button", { name: "Start" }).click();
    await bubble(a, "Who has a boat?").waitFor();
    const first = b.locator("[data-conversation]").first();
    await first.getByText("Sunday paddle").waitFor();
    await first.locator(".unread").getByText("1", { exact: true }).waitFor();
    await first.click();
    await bubble(b, "Who has a boat?").waitFor();
    await a.locator(`[data-presence="${BERNAT}"][data-listening=true]`).waitFor();
    await write(b, "I do.");
    await bubble(a, "I do.").waitFor();
    await Promise.all([a, b].map((page) => page.context().close()));
  });

  await check("somebody who is added to a group sees it at once", async () => {
    const id = await begin([AINA, BERNAT, CARLA], "Is Elena there?");
    const elena = await as(ELENA);
    await max(AINA, `conversations/${id}/participants`, { actor: { username: ELENA } });
    await elena.locator(item(id)).click();
    await bubble(elena, "Is Elena there?").waitFor();
    await elena.context().close();
  });

  await check("a group without a name is called after the others", async () => {
    const id = await begin([AINA, CARLA, DIDAC]);
    const page = await as(AINA, id);
    assert.equal(await page.locator("#title").textContent(), "Carla Vidal, Dídac Muñoz");
    assert.equal(await page.locator(`${item(id)} .item-title`).textContent(), "Carla Vidal, Dídac Muñoz");
    await page.context().close();
  });
}

async function messages() {
  await check("text from right to left stands so, in messages and while it is written", async () => {
    const page = await as(AINA, pair);
    const hebrew = "שלום, מה שלומך?";
    await page.locator("#text").fill(hebrew);
    const direction = (element) => element.evaluate((one) => getComputedStyle(one).direction);
    assert.equal(await direction(page.locator("#text")), "rtl");
    await page.keyboard.press("Enter");
    assert.equal(await direction(bubble(page, hebrew)), "rtl");
    await page.getByText("You: ").first().waitFor();
    assert.equal(await direction(page.locator(".bubble").first()), "ltr");
    await page.context().close();
  });

  await check("a message has one limit, in characters, which the page says before MAX does", async () => {
    const page = await as(AINA, pair);
    const text = page.locator("#text");
    await text.fill("x".repeat(CHARS_MAX - 201));
    assert.equal(await page.locator("#room").isVisible(), false);
    await text.fill("😀".repeat(CHARS_MAX + 1));
    await page.getByText(`1 characters too many: a message has at most ${CHARS_MAX}.`).waitFor();
    await page.keyboard.press("Enter");
    assert.equal(await text.inputValue(), "😀".repeat(CHARS_MAX + 1), "nothing was cut or sent");
    await text.fill("😀".repeat(CHARS_MAX));
    await page.getByText("0 left", { exact: true }).waitFor();
    await page.keyboard.press("Enter");
    await message(page, "😀".repeat(CHARS_MAX)).locator("[data-ack]").waitFor();
    assert.equal(await page.locator("#trouble").isVisible(), false);
    await page.context().close();
  });

  await check("a run of messages has one time, at its end", async () => {
    const id = await begin([ELENA, BERNAT, DIDAC], "One");
    const page = await as(ELENA, id);
    for (const text of ["Two", "Three"]) await write(page, text);
    await message(page, "Three").locator("[data-ack]").waitFor();
    assert.deepEqual(
      await page.locator(".message time").evaluateAll((all) => all.map((one) => one.textContent !== "")),
      [...[false, false, true]],
    );
    await page.context().close();
  });

  await check("few messages stand above the composer", async () => {
    const id = await begin([ELENA, BERNAT, CARLA], "Alone here");
    for (const viewport of [DESKTOP, PHONE]) {
      const page = await as(ELENA, id, { viewport });
      await bubble(page, "Alone here").waitFor();
      const gap = await page.evaluate(() => {
        const bottom = (selector) => document.querySelector(selector).getBoundingClientRect().bottom;
        return bottom("#scroll") - bottom(".message:last-child");
      });
      assert.ok(gap >= 0 && gap < 32, `${gap} px below the last message`);
      await page.context().close();
    }
  });

  await check("who has scrolled up is told of new messages by a pill, which leads to them", async () => {
    const [a, b] = [await as(AINA, hike), await as(BERNAT, hike)];
    for (let n = 0; n < 12; n += 1) await write(b, `Line ${n}\nof several\nlines`);
    await bubble(a, "Line 11\nof several\nlines").waitFor();
    const pill = a.locator("#latest");
    assert.equal(await pill.isVisible(), false);
    await a.locator("#scroll").evaluate((scroll) => (scroll.scrollTop = 0));
    await pill.waitFor();
    for (const text of ["First of two", "Second of two"]) await write(b, text);
    await pill.getByText("2 new", { exact: true }).waitFor();
    assert.ok((await a.locator("#scroll").evaluate((scroll) => scroll.scrollTop)) < 100, "it stayed where it was");
    await pill.click();
    await pill.waitFor({ state: "hidden" });
    await bubble(a, "Second of two").waitFor();
    const left = await a.locator("#scroll").evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight);
    assert.ok(left < 2, `${left} px are left below`);
    await Promise.all([a, b].map((page) => page.context().close()));
  });

  await check("a line says where the unread messages begin", async () => {
    const [a, b] = [await as(AINA, pair), await as(BERNAT, hike)];
    await write(b, "Read this later");
    await write(b, "And this");
    await a
      .locator(`${item(hike)} .unread`)
      .getByText("2", { exact: true })
      .waitFor();
    await a.click(item(hike));
    await message(a, "Read this later").locator(".mark").getByText("New", { exact: true }).waitFor();
    assert.equal(await a.locator(".mark:not(:empty)").count(), 1);
    await a.click(item(pair));
    await opened(a, pair);
    await a.click(item(hike));
    await opened(a, hike);
    assert.equal(await a.locator(".mark:not(:empty)").count(), 0);
    await Promise.all([a, b].map((page) => page.context().close()));
  });

  await check("addresses in messages are links, and so is all that leads somewhere", async () => {
    const page = await as(AINA, pair);
    await write(page, "See https://example.org/a?b=c&d, or (http://example.org/e). javascript:alert(1)");
    const links = page.locator(".message").last().getByRole("link");
    assert.deepEqual(await links.evaluateAll((all) => all.map((link) => [link.href, link.target, link.rel])), [
      ["https://example.org/a?b=c&d", "_blank", "noopener noreferrer nofollow"],
      ["http://example.org/e", "_blank", "noopener noreferrer nofollow"],
    ]);
    for (const selector of [item(hike), "#back", "#second", ".tabs a", ".mine a", ".wordmark"]) {
      const tags = await page.locator(selector).evaluateAll((all) => all.map((one) => one.matches("a[href]")));
      assert.ok(tags.length > 0 && tags.every(Boolean), selector);
    }
    await page.context().close();
  });

  await check("presence shows by form and by words, not by colour alone", async () => {
    const [a, b] = [await as(AINA, hike), await as(BERNAT)];
    const member = (username, is) => a.locator(`[data-presence="${username}"][data-listening="${is}"]`);
    const dot = (element) => element.evaluate((one) => getComputedStyle(one, "::after").backgroundImage);
    await member(BERNAT, true).waitFor();
    assert.equal(await dot(member(BERNAT, true)), "none");
    assert.match(await dot(member(CARLA, false)), /gradient/);
    await a
      .locator("#presence")
      .getByText(/Bernat .*listening/)
      .waitFor();
    assert.match(await a.locator(item(hike)).textContent(), /Bernat listening/);
    await Promise.all([a, b].map((page) => page.context().close()));
  });
}

async function absences() {
  await check("what was begun shows as a draft in the list", async () => {
    const page = await as(AINA, pair);
    await page.locator("#text").fill("Not yet finished");
    await page.click(item(hike));
    await page.locator(item(pair)).getByText("Draft: Not yet finished").waitFor();
    await page.click(item(pair));
    await opened(page, pair);
    assert.equal(await page.locator("#text").inputValue(), "Not yet finished");
    await page.context().close();
  });

  await check("a network that goes is noticed at once, unless the server still answers", async () => {
    let [swallows, connections, ask] = [false, 0, null];
    const answers = new Inbox("the page");
    const route = (page) =>
      page.routeWebSocket(/socket\.io/, (socket) => {
        connections += 1;
        const upstream = socket.connectToServer();
        socket.onMessage((frame) => {
          ask ??= /^42\/max,(\d+)\["ask"\]/.exec(frame);
          if (!swallows) upstream.send(frame);
        });
        upstream.onMessage((frame) => {
          if (swallows) return;
          socket.send(frame);
          if (ask && String(frame).startsWith(`43/max,${ask[1]}[`)) answers.heard("answer", frame);
        });
      });
    const page = await as(AINA, pair, { faulty: true, route });
    // The page asks after its join, too.
    await answers.next("answer");
    ask = null;
    await page.evaluate(() => dispatchEvent(new Event("offline")));
    await answers.next("answer");
    await state(page, "online");
    assert.equal(connections, 1, "it connected anew, although the server answers");
    swallows = true;
    await page.context().setOffline(true);
    await page.getByRole("alert").filter({ hasText: "The network is gone" }).waitFor();
    await state(page, "offline");
    swallows = false;
    await page.context().setOffline(false);
    await state(page, "online");
    await page.context().close();
  });

  await check("an open sample conversation survives a restart of the server, with what was begun in it", async () => {
    const page = await as(AINA, pair, { viewport: PHONE, faulty: true });
    await page.locator("#text").fill("Half a sentence");
    await server.stop();
    await state(page, "offline");
    await server.start();
    await state(page, "online");
    await opened(page, pair);
    assert.equal(await page.locator("#text").inputValue(), "Half a sentence");
    await page.locator("#text").press("End");
    await page.locator("#text").pressSequentially(" and the rest");
    await page.locator("#text").press("Enter");
    await bubble(page, "Half a sentence and the rest").waitFor();
    await page.context().close();
  });

  await check("where the open conversation is gone, the page goes to the list and keeps what was begun", async () => {
    const id = await begin([AINA, BERNAT, CARLA], "Short-lived", "Ephemeral");
    const page = await as(AINA, id, { viewport: PHONE, faulty: true });
    await page.locator("#text").fill("Do not lose this");
    await server.stop();
    await state(page, "offline");
    await server.start();
    await page.getByText("The conversation “Ephemeral” has gone. What you were writing is kept:").waitFor();
    await page.locator("#lost-draft").getByText("Do not lose this").waitFor();
    await page.locator(item(pair)).waitFor();
    await noViolations(page, "the list with what was kept");
    await page.getByRole("button", { name: "Start anew with it" }).click();
    assert.equal(await page.getByLabel("First message").inputValue(), "Do not lose this");
    await page.check(`input[value="${BERNAT}"]`);
    await page.getByRole("button", { name: "Start", exact: true }).click();
    await bubble(page, "Do not lose this").waitFor();
    await page.locator("#back").click();
    await page.locator("#lost").waitFor({ state: "hidden" });
    await page.context().close();
  });

  await check("an address of somebody else's conversation leads to the list", async () => {
    const page = await open(fragment(ELENA, pair), { viewport: PHONE });
    await page.getByText("This conversation is not one of yours.").waitFor();
    await page.locator("[data-conversation]").first().waitFor();
    await page.getByRole("button", { name: "Dismiss" }).click();
    await page.locator("#lost").waitFor({ state: "hidden" });
    await page.context().close();
  });
}

async function looks() {
  await check("a switch chooses between light and dark, for all windows and after a reload", async () => {
    const page = await as(AINA, pair);
    const other = await page.context().newPage();
    await other.goto(`${server.url}/inspect`);
    const scheme = (page) => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
    const paper = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper(page);
    const toggle = page.getByRole("button", { name: "Dark colours" });
    assert.equal(await toggle.getAttribute("aria-pressed"), "false");
    await toggle.click();
    assert.equal(await toggle.getAttribute("aria-pressed"), "true");
    assert.equal(await scheme(page), "dark");
    assert.notEqual(await paper(page), light);
    await other.waitForFunction(() => document.documentElement.dataset.theme === "dark");
    await page.reload();
    assert.equal(await scheme(page), "dark");
    await toggle.click();
    assert.equal(
      await page.evaluate(() => [localStorage.length, document.documentElement.dataset.theme]).then(String),
      "0,",
    );
    await page.emulateMedia({ colorScheme: "dark" });
    // It follows the system again.
    await page.locator("#theme[aria-pressed=true]").waitFor();
    await page.context().close();
  });

  for (const viewport of [DESKTOP, PHONE]) {
    for (const colorScheme of ["light", "dark"]) {
      const how = `at ${viewport.width} px, ${colorScheme}`;
      await check(`axe finds nothing wrong in any view, ${how}`, async () => {
        const options = { viewport, colorScheme, reducedMotion: "reduce" };
        const picker = await open("", options);
        await picker.locator(".card").first().waitFor();
        await noViolations(picker, `the people, ${how}`);
        await picker.context().close();
        const page = await as(AINA, undefined, options);
        await page.locator(item(hike)).waitFor();
        await noViolations(page, `the list, ${how}`);
        await page.click(item(hike));
        await opened(page, hike);
        await write(page, `https://example.org for ${how}`);
        await message(page, `https://example.org for ${how}`).locator("[data-ack]").waitFor();
        await noViolations(page, `the conversation, ${how}`);
        await page.locator("#text").fill("x".repeat(CHARS_MAX + 1));
        await page.locator("#scroll").evaluate((scroll) => (scroll.scrollTop = 0));
        await page.locator("#latest").waitFor();
        await noViolations(page, `the conversation with too long a message, scrolled up, ${how}`);
        if (viewport === PHONE) await page.click("#back");
        await page.click("#new");
        await page.check(`input[value="${BERNAT}"]`);
        await page.check(`input[value="${CARLA}"]`);
        await noViolations(page, `the dialog, ${how}`);
        await page.context().close();
      });
    }
  }

  await check("forced colours leave borders and presence", async () => {
    const [page, bernat] = [await as(AINA, hike, { forcedColors: "active" }), await as(BERNAT)];
    await page.locator(`[data-presence="${BERNAT}"][data-listening=true]`).waitFor();
    const style = (selector, pseudo, name) =>
      page.evaluate(
        ([selector, pseudo, name]) => getComputedStyle(document.querySelector(selector), pseudo)[name],
        [...[selector, pseudo, name]],
      );
    assert.equal(await style(".message:not(.own) .balloon", null, "borderTopStyle"), "solid");
    const dot = (is) => style(`.members [data-listening="${is}"]`, "::after", "backgroundColor");
    assert.notEqual(await dot(true), await dot(false));
    await noViolations(page, "the conversation in forced colours");
    await Promise.all([page, bernat].map((page) => page.context().close()));
  });
}

try {
  await newConversations();
  await messages();
  await looks();
  await absences();
  await check("no window complained", async () => assert.deepEqual(complaints, []));
} catch (error) {
  report("the preparation", error);
} finally {
  await browser.close();
  await server.stop();
}

finish();
