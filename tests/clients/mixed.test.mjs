// Clients of one library over all of its transports in one conversation: they hear one order, and as many as were sent.
// And what only some of them show: numbers as they were written, and a sudden end.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";

import { closeAll, enter, fresh, tokenOf, usual, way, ways } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

/** The libraries that tell what they hear in its order; python-socketio hands each message to a thread of its own. */
const LIBRARIES = new Set(ways.map((way) => way.library));
const IN_ORDER = [...LIBRARIES].filter((library) => library.startsWith("socket.io-client"));

const max = await startMax();
const server = await Maxtalk.start(max.url);
afterEach(closeAll);
after(async () => {
  await server.stop();
  await max.stop();
});

describe("a conversation", { timeout: 600_000 }, () => {
  for (const library of IN_ORDER) {
    const own = ways.filter((way) => way.library === library);
    const polling = own.find(({ transport }) => transport.endsWith("polling"));
    const upgrade = own.find(({ transport }) => transport === "upgrade");

    it(`keeps one order for all of ${library}, on each transport, those that just upgrade too`, async () => {
      const TALKS = 500;
      const [red] = fresh("red");
      const open = (name, way) => enter(way, server.url, `${name}.${red}`);
      const talkers = [await open("ada", polling), await open("ben", way(library, "websocket"))];
      const listeners = [];
      for (const [index, way] of own.entries()) listeners.push(await open(`listener${index}`, way));
      const acks = talkers.flatMap((talker) =>
        Array.from({ length: TALKS }, (_, index) => talker.acked("talk", { conversation: red, messageID: index })),
      );
      for (const ack of await Promise.all(acks)) assert.deepEqual(ack, { ok: true });

      const told = await Promise.all(listeners.map((listener) => updates(listener, 2 * TALKS)));
      for (const [index, { transport }] of listeners.entries()) {
        assert.equal(transport, own[index] === upgrade ? "websocket" : own[index].transport);
      }
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

    if (!upgrade) continue;
    it(`loses and doubles nothing of ${library} while it upgrades and talks`, async () => {
      const TALKS = 200;
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      const ada = upgrade.open(server.url);
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
    it(`carries numbers digit for digit between python-socketio of both generations, ${transport}`, async () => {
      const [red] = fresh("red");
      const clients = [];
      for (const [name, library] of [["ada", 5], ["ben", 4], ["cai", 5], ["dot", 4]]) {
        clients.push(await enter(way(`python-socketio ${library}`, transport), server.url, `${name}.${red}`));
      }
      for (const talker of clients.slice(0, 2)) {
        for (const [timestamp, messageID] of [["1.0", "12345678901234567890"], ["-0.0", "9007199254740993"]]) {
          talker.emitText(`["talk",{"conversation":"${red}","timestamp":${timestamp},"messageID":${messageID}}]`);
          for (const listener of clients) {
            if (listener === talker) continue;
            const { text } = await listener.nextNews("update");
            assert.ok(text.includes(`"timestamp": ${timestamp}`) && text.includes(`"messageID": ${messageID}`), text);
          }
        }
      }
    });
  }

  it("notices that a client died", async () => {
    const [red] = fresh("red");
    const ben = await enter(usual, server.url, `ben.${red}`);
    const ada = await enter(way("python-socketio 5", "websocket"), server.url, `ada.${red}`);
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
