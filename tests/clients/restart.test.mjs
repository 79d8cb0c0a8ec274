// The end of a server, as its clients see it: they lose the transport and nothing else, come back by themselves to the
// next server, join again and hear.

import assert from "node:assert/strict";
import { get } from "node:http";
import { after, afterEach, describe, it } from "node:test";

import { closeAll, enter, fresh, ways } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

/** What clients call the loss of their transport; python-socketio 5 knows only the second word. */
const TRANSPORT_LOST = ["transport close", "transport error"];

/**
 * What those call it that have other words, or none. To 0.9 a poll that ends with the advice to reconnect is "booted",
 * and so is an end for good, from which it would not come back.
 */
const IN_OTHER_WORDS = { "socket.io-client 0.9": [undefined, "booted"], "python-socketio 4": [undefined] };

/** So long a server waits for what still ends, at most. A stop that waits for nothing takes far less on any machine. */
const STOP_MS = 60_000;
const PATIENT = { SERVER__STOP_MS: String(STOP_MS) };

const max = await startMax();
afterEach(closeAll);
after(() => max.stop());

describe("a restart", { timeout: 600_000 }, () => {
  for (const signal of ["SIGKILL", "SIGTERM"]) {
    it(`after ${signal} brings every client back`, async () => {
      const server = await Maxtalk.start(max.url);
      const [red] = fresh("red");
      const clients = [];
      for (const [index, way] of ways.entries()) clients.push(await enter(way, server.url, `u${index}.${red}`));
      for (const client of clients) await client.upgraded();
      for (let round = 1; round <= 2; round += 1) {
        await server.end(signal);
        for (const client of clients) {
          await lost(client, TRANSPORT_LOST);
        }
        await server.start();
        for (const client of clients) assert.deepEqual(await client.next("listening"), { conversations: [red] });
        for (const talker of clients) {
          const messageID = `${round} ${talker.name}`;
          assert.deepEqual(await talker.acked("talk", { conversation: red, messageID }), { ok: true });
          for (const listener of clients) {
            if (listener !== talker) assert.equal((await listener.next("update")).messageID, messageID);
          }
        }
      }
      await closeAll();
      await server.stop();
    });
  }
});

describe("a drain", { timeout: 600_000 }, () => {
  it("takes its time, and brings every client back", async () => {
    const drain_ms = 3_000;
    const server = await Maxtalk.start(max.url, { SERVER__DRAIN_MS: String(drain_ms), ...PATIENT });
    const [red] = fresh("red");
    const clients = [];
    for (const [index, way] of ways.entries()) clients.push(await enter(way, server.url, `u${index}.${red}`));
    for (const client of clients) await client.upgraded();
    // Those that are closed first try to come back while the server still drains: they are refused.
    const end = server.end();
    for (const client of clients) await lost(client, TRANSPORT_LOST);
    const { code, took_ms } = await end;
    assert.equal(code, 0, server.log);
    assert.ok(took_ms > drain_ms / 2 && took_ms < STOP_MS / 2, `it took ${took_ms} ms`);
    await server.start();
    for (const client of clients) assert.deepEqual(await client.next("listening"), { conversations: [red] });
    await closeAll();
    await server.stop();
  });
});

describe("the stop", { timeout: 600_000 }, () => {
  for (const signal of ["SIGTERM", "SIGINT"]) {
    it(`by ${signal} waits for none of 100 sockets, and for no pending poll`, async () => {
      const server = await Maxtalk.start(max.url, PATIENT);
      const [red] = fresh("red");
      const inProcess = ways.filter((way) => way.library.startsWith("socket.io-client"));
      const over = (...transports) => inProcess.filter((way) => transports.includes(way.transport));
      const [onWebsocket, others] = [over("websocket"), over("upgrade", "polling", "xhr-polling")];
      const open = (index) => {
        const some = index < 90 ? onWebsocket : others;
        return enter(some[index % some.length], server.url, `u${index}.${red}`);
      };
      const clients = await Promise.all(Array.from({ length: 100 }, (_, index) => open(index)));
      for (const client of clients) await client.upgraded();
      const poll = await pendingPoll(server.url);

      const { code, took_ms } = await server.end(signal);
      assert.equal(code, 0);
      assert.ok(took_ms < STOP_MS / 2, `it took ${took_ms} ms`);
      await poll.ended;
      for (const client of clients) {
        // A poll may end in either way; a WebSocket is closed, not broken.
        await lost(client, client.transport.endsWith("polling") ? TRANSPORT_LOST : ["transport close"]);
      }
    });
  }
});

/** Waits until this client has lost its transport, for one of these reasons. */
async function lost(client, reasons) {
  const reason = await client.next("disconnect");
  const expected = IN_OTHER_WORDS[client.way.library] ?? reasons;
  assert.ok(expected.includes(reason), `${client.name} was told ${reason}`);
}

/** A poll with nothing to answer it: it is under way when this returns, and `ended` settles when it is over. */
async function pendingPoll(url) {
  const endpoint = `${url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(endpoint)).text()).slice(1));
  const post = await fetch(`${endpoint}&sid=${sid}`, { method: "POST", body: "40/max," });
  assert.equal(await post.text(), "ok");
  assert.match(await (await fetch(`${endpoint}&sid=${sid}`)).text(), /^40\/max,/);
  const ended = new Promise((resolve) => {
    get(`${endpoint}&sid=${sid}`, (answer) => answer.resume().once("close", resolve)).once("error", resolve);
  });
  return { ended };
}
