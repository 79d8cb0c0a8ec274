// The written protocol, case by case, through each official client over each transport. The client under test is Ada's;
// Ben has the usual one.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";

import { closeAll, enter, fresh, tokenOf, usual, ways } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const max = await startMax();
const server = await Maxtalk.start(max.url);
afterEach(closeAll);
after(async () => {
  await server.stop();
  await max.stop();
});

for (const way of ways) {
  describe(way.name, { timeout: 600_000 }, () => {
    it("ends up on its transport", async () => {
      const [red] = fresh("red");
      const ada = await enter(way, server.url, `ada.${red}`);
      await ada.upgraded();
      assert.equal(ada.transport, way.transport === "upgrade" ? "websocket" : way.transport);
    });

    it("joins with a token and listens to all of its conversations", async () => {
      const [red, blue] = fresh("red", "blue");
      const ada = way.open(server.url);
      const username = `ada.${red}.${blue}`;
      assert.deepEqual(await ada.acked("join", { username, token: tokenOf(username), timestamp: 1 }), { ok: true });
      assert.deepEqual(await ada.next("listening"), { conversations: [red, blue] });
    });

    if (way.generation === "Engine.IO 4") {
      it("joins with the token of its CONNECT", async () => {
        const [red] = fresh("red");
        const username = `ada.${red}`;
        const ada = way.open(server.url, { auth: { token: tokenOf(username) } });
        assert.deepEqual(await ada.acked("join", { username, timestamp: 1 }), { ok: true });
        assert.deepEqual(await ada.next("listening"), { conversations: [red] });
      });
    }

    it("joins by a bare username where MAX is asked by the service account", async () => {
      const [red] = fresh("red");
      const ada = way.open(server.url);
      ada.emit("join", `Ada.${red}`);
      assert.deepEqual(await ada.next("listening"), { conversations: [red] });
      const ben = await enter(usual, server.url, `ben.${red}`);
      ben.emit("ask", red);
      const people = await ben.next("people");
      assert.deepEqual(people, { conversation: red, inroom: 2, people: [`ada.${red}`, `ben.${red}`] });
    });

    it("joins under a name beyond ASCII", async () => {
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      await enter(way, server.url, `Żółć 日本 😀.${red}`);
      assert.deepEqual(await ben.next("joined"), { conversation: red, username: `żółć 日本 😀.${red}` });
    });

    it("hears who joins, and who leaves by closing", async () => {
      const [red] = fresh("red");
      const ada = await enter(way, server.url, `ada.${red}`);
      const ben = await enter(usual, server.url, `ben.${red}`);
      assert.deepEqual(await ada.next("joined"), { conversation: red, username: `ben.${red}` });
      await ben.hearsNo("joined", red);
      await ben.close();
      assert.deepEqual(await ada.next("left"), { conversation: red, username: `ben.${red}` });
    });

    it("is announced when it joins, and when it disconnects", async () => {
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      const ada = await enter(way, server.url, `ada.${red}`);
      assert.deepEqual(await ben.next("joined"), { conversation: red, username: `ada.${red}` });
      await ada.close();
      assert.deepEqual(await ben.next("left"), { conversation: red, username: `ada.${red}` });
    });

    it("talks and is heard, with the same values", async () => {
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      const ada = await enter(way, server.url, `ada.${red}`);
      const username = `ada.${red}`;
      for (const values of VALUES) {
        ada.emit("talk", { conversation: red, ...values });
        assert.deepEqual(await ben.next("update"), { username, conversation: red, ...values });
      }
      await ada.hearsNo("update", red);
    });

    it("hears a talk, with the same values", async () => {
      const [red] = fresh("red");
      const ada = await enter(way, server.url, `ada.${red}`);
      const ben = await enter(usual, server.url, `ben.${red}`);
      const username = `ben.${red}`;
      for (const values of VALUES) {
        ben.emit("talk", { conversation: red, ...values });
        assert.deepEqual(await ada.next("update"), { username, conversation: red, ...values });
      }
      await ben.hearsNo("update", red);
    });

    it("is one user with all of its sockets", async () => {
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      const ada = await enter(way, server.url, `ada.${red}`);
      await ben.next("joined");
      const again = await enter(way, server.url, `ada.${red}`);
      await ben.hearsNo("joined", red);
      await ada.hearsNo("joined", red);

      ada.emit("talk", { conversation: red, messageID: "m1" });
      assert.equal((await again.next("update")).messageID, "m1", "the other sockets of the talker's own user hear it");
      assert.equal((await ben.next("update")).messageID, "m1");
      await ada.hearsNo("update", red);

      ben.emit("ask", red);
      const people = await ben.next("people");
      assert.deepEqual(people, { conversation: red, inroom: 2, people: [`ada.${red}`, `ben.${red}`] });

      // Not closed but gone from the conversation: the answer proves that the server has seen it.
      assert.deepEqual(await ada.acked("leave", red), { ok: true });
      await ben.hearsNo("left", red);
      await again.close();
      assert.deepEqual(await ben.next("left"), { conversation: red, username: `ada.${red}` });
    });

    it("gets an ack for what was done, and a code for what was not", async () => {
      const [red, blue] = fresh("red", "blue");
      const ada = await enter(way, server.url, `ada.${red}`);
      const refused = async (code, event, ...args) => {
        const { reason, ...ack } = await ada.acked(event, ...args);
        assert.deepEqual(ack, { ok: false, code });
        assert.match(reason, /\w/);
      };
      assert.deepEqual(await ada.acked("talk", { conversation: red, timestamp: 1, messageID: "m" }), { ok: true });
      await refused("forbidden", "talk", { conversation: blue, timestamp: 1, messageID: "m" });
      await refused("forbidden", "ask", blue);
      await refused("forbidden", "leave", { conversation: blue });
      await refused("bad_talk", "talk", { conversation: red, timestamp: { of: "day" } });
      await refused("bad_talk", "talk", { timestamp: 1 });
      await refused("bad_request", "ask", [red]);
      await refused("bad_join", "join", 7);
      await refused("bad_username", "join", "ada\n");
      await refused("unknown_event", "shout", red);
      await ada.hearsNo("refused", red);
    });

    it("is told why something was refused", async () => {
      const [red, blue] = fresh("red", "blue");
      const ada = way.open(server.url);
      const refused = async (expected, event, ...args) => {
        ada.emit(event, ...args);
        const { reason, ...rest } = await ada.next("refused");
        assert.deepEqual(rest, { event, ...expected });
        assert.match(reason, /\w/);
      };
      const username = `ada.${red}`;
      await refused({ code: "not_joined", conversation: red }, "talk", { conversation: red });
      await refused({ code: "unauthorized" }, "join", { username, token: "t-somebody-else" });
      await refused({ code: "unknown_user" }, "join", "stranger");
      ada.emit("join", { username, token: tokenOf(username) });
      await ada.next("listening");
      await refused({ code: "forbidden", conversation: blue }, "talk", { conversation: blue });
    });

    it("may talk in the same breath as it joins", async () => {
      const [red] = fresh("red");
      const ben = await enter(usual, server.url, `ben.${red}`);
      const ada = way.open(server.url);
      await ada.next("connect");
      const username = `ada.${red}`;
      ada.emit("join", { username, token: tokenOf(username) });
      ada.emit("talk", { conversation: red, messageID: "m" });
      assert.deepEqual(await ben.next("update"), { username, conversation: red, messageID: "m" });
    });

    it("asks who is there", async () => {
      const [red, blue] = fresh("red", "blue");
      const names = [`zoe.${red}`, `bea.${red}.${blue}`, `bea.${red}.${blue}`, `Carl.${red}`];
      for (const name of names) await enter(usual, server.url, name);
      const ada = await enter(way, server.url, `ada.${red}.${blue}`);
      const inRed = [`ada.${red}.${blue}`, `bea.${red}.${blue}`, `carl.${red}`, `zoe.${red}`];
      const inBlue = [`ada.${red}.${blue}`, `bea.${red}.${blue}`];
      const answers = {
        [red]: { conversation: red, inroom: 4, people: inRed },
        [blue]: { conversation: blue, inroom: 2, people: inBlue },
      };
      const about = (conversation) => ada.next("people", (people) => people.conversation === conversation);
      for (const one of [blue, { conversation: blue }]) {
        ada.emit("ask", one);
        assert.deepEqual(await ada.next("people"), answers[blue]);
      }
      for (const all of [[], [{}]]) {
        assert.deepEqual(await ada.acked("ask", ...all), { ok: true });
        for (const conversation of [red, blue]) assert.deepEqual(await about(conversation), answers[conversation]);
      }
      assert.deepEqual(ada.all("people"), []);
    });

    it("leaves one conversation, enters again by joining again, and leaves all", async () => {
      const [red, blue] = fresh("red", "blue");
      const ben = await enter(usual, server.url, `ben.${red}.${blue}`);
      const ada = await enter(way, server.url, `ada.${red}.${blue}`);
      const username = `ada.${red}.${blue}`;
      const both = async (event) => {
        for (const conversation of [red, blue]) {
          const data = await ben.next(event, (data) => data.conversation === conversation);
          assert.deepEqual(data, { conversation, username });
        }
      };
      await both("joined");

      ada.emit("leave", { conversation: red });
      assert.deepEqual(await ada.next("listening"), { conversations: [blue] });
      assert.deepEqual(await ben.next("left"), { conversation: red, username });
      ben.emit("talk", { conversation: red });
      await ben.hearsNo("left", red);
      await ada.hearsNo("update", blue);
      assert.equal((await ada.acked("talk", { conversation: red })).code, "forbidden");

      ada.emit("join", { username, token: tokenOf(username) });
      assert.deepEqual(await ada.next("listening"), { conversations: [red, blue] });
      assert.deepEqual(await ben.next("joined"), { conversation: red, username });
      await ben.hearsNo("joined", blue);

      assert.deepEqual(await ada.acked("leave"), { ok: true });
      assert.deepEqual(await ada.next("listening"), { conversations: [] });
      await both("left");
    });

    it("is not let into a namespace that there is not", async () => {
      const ada = way.open(server.url, { namespace: "/nope" });
      if (way.generation === "Socket.IO 0.9") {
        // This generation has no word for it: the server keeps silent, and the connection is as good as before.
        await ada.granted("/max");
        assert.deepEqual(ada.all("connect"), []);
      } else {
        assert.equal(await ada.next("connect_error"), "Invalid namespace");
      }
    });
  });
}

describe("a server without a service account", () => {
  it("asks for a token", async () => {
    const strict = await Maxtalk.on({ MAX__URL: max.url });
    await strict.start();
    const [red] = fresh("red");
    const ada = usual.open(strict.url);
    assert.equal((await ada.acked("join", `ada.${red}`)).code, "token_required");
    assert.deepEqual(await ada.acked("join", { username: `ada.${red}`, token: tokenOf(`ada.${red}`) }), { ok: true });
    await ada.close();
    await strict.stop();
  });
});

/** What `timestamp` and `messageID` may be, as far as JavaScript can tell values apart. */
const VALUES = [
  { timestamp: 1369000000123, messageID: "519b00000000000000000000" },
  { timestamp: "dilluns, 20 de maig — 9 h \u2028", messageID: "missatge \"ñ\" 日本 😀 \\ \u0000" },
  { timestamp: -0.5, messageID: 1e21 },
  { timestamp: null, messageID: true },
  { messageID: "" },
  {},
];
