// Clients of all kinds in one conversation: they hear each other, in one order, and as many as were sent.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";

import { closeAll, enter, fresh, tokenOf, usual, way, ways } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const LIBRARIES = ["socket.io-client 4", "socket.io-client 3"];

const max = await startMax();
const server = await Maxtalk.start(max.url);
afterEach(closeAll);
after(async () => {
  await server.stop();
  await max.stop();
});

describe("a mixed conversation", { timeout: 120_000 }, () => {
  it("lets every client over every transport hear every other", async () => {
    const [red] = fresh("red");
    const clients = [];
    for (const [index, way] of ways.entries()) clients.push(await enter(way, server.url, `u${index}.${red}`));
    for (const [index, talker] of clients.entries()) {
      const news = { conversation: red, timestamp: index, messageID: `é${index}` };
      const update = { username: `u${index}.${red}`, ...news };
      assert.deepEqual(await talker.acked("talk", news), { ok: true });
      for (const listener of clients) if (listener !== talker) assert.deepEqual(await listener.next("update"), update);
    }
    for (const client of clients) await client.hearsNo("update", red);
  });

  for (const library of LIBRARIES) {
    it(`keeps one order for all of ${library}, on polling, on websocket, and in the middle of an upgrade`, async () => {
      const TALKS = 500;
      const [red] = fresh("red");
      const open = (name, transport) => enter(way(library, transport), server.url, `${name}.${red}`);
      const talkers = [await open("ada", "polling"), await open("ben", "websocket")];
      const listeners = [await open("cai", "polling"), await open("dot", "websocket"), await open("eve", "upgrade")];
      const acks = talkers.flatMap((talker) =>
        Array.from({ length: TALKS }, (_, index) => talker.acked("talk", { conversation: red, messageID: index })),
      );
      for (const ack of await Promise.all(acks)) assert.deepEqual(ack, { ok: true });

      const told = await Promise.all(listeners.map((listener) => updates(listener, 2 * TALKS)));
      assert.equal(listeners[2].transport, "websocket");
      const by = (talker) => ({ username }) => username === `${talker}.${red}`;
      const expected = Array.from({ length: TALKS }, (_, index) => index);
      for (const talker of ["ada", "ben"]) {
        const heard = told[0].filter(by(talker)).map((update) => update.messageID);
        assert.deepEqual(heard, expected, `the order of ${talker}`);
      }
      for (const other of told.slice(1)) assert.deepEqual(other, told[0], "the order of the conversation");
      // A talker hears the other one, in the same order, and nothing of its own.
      assert.deepEqual(await updates(talkers[0], TALKS), told[0].filter(by("ben")));
      assert.deepEqual(await updates(talkers[1], TALKS), told[0].filter(by("ada")));
      for (const client of [...talkers, ...listeners]) await client.hearsNo("update", red);
    });

    it(`loses and doubles nothing of ${library} while it upgrades and talks`, async () => {
      const TALKS = 200;
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      const ada = way(library, "upgrade").open(server.url);
      await ada.next("connect");
      ada.emit("join", { username: `ada.${red}`, token: tokenOf(`ada.${red}`) });
      for (let index = 0; index < TALKS; index += 1) {
        assert.deepEqual(await ada.acked("talk", { conversation: red, messageID: index }), { ok: true });
        ben.emit("talk", { conversation: red, messageID: index });
      }
      await ada.upgraded();
      for (const client of [ada, ben]) {
        const heard = (await updates(client, TALKS)).map((update) => update.messageID);
        assert.deepEqual(heard, Array.from({ length: TALKS }, (_, index) => index));
        await client.hearsNo("update", red);
      }
    });
  }

  for (const transport of ["websocket", "polling"]) {
    it(`carries numbers digit for digit between two of python-socketio, ${transport}`, async () => {
      const [red] = fresh("red");
      const ada = await enter(way("python-socketio", transport), server.url, `ada.${red}`);
      const ben = await enter(way("python-socketio", transport), server.url, `ben.${red}`);
      for (const [timestamp, messageID] of [["1.0", "12345678901234567890"], ["-0.0", "9007199254740993"]]) {
        ada.emitText(`["talk",{"conversation":"${red}","timestamp":${timestamp},"messageID":${messageID}}]`);
        const { text } = await ben.nextNews("update");
        assert.ok(text.includes(`"timestamp": ${timestamp}`) && text.includes(`"messageID": ${messageID}`), text);
      }
    });
  }

  it("notices that a client died", async () => {
    const [red] = fresh("red");
    const ben = await enter(usual, server.url, `ben.${red}`);
    const ada = await enter(way("python-socketio", "websocket"), server.url, `ada.${red}`);
    await ben.next("joined");
    await ada.die();
    assert.deepEqual(await ben.next("left"), { conversation: red, username: `ada.${red}` });
  });
});

/** The next `count` updates, in order. */
async function updates(client, count) {
  const heard = [];
  while (heard.length < count) heard.push(await client.next("update"));
  return heard;
}
