// Clients whose connection is lost: the current one comes back and goes on where it was, the others begin anew, and
// nobody who cannot come back notices anything.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { connect, createServer } from "node:net";

import { freePort } from "./daemon.mjs";
import { closeAll, enter, fresh, tokenOf, usual, way, ways } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { Redis, until } from "./redis.mjs";

const CURRENT = ways.filter((way) => way.library === "socket.io-client 4");

/** A line between clients and a server, which may be cut, and may lead to another server. */
class Line {
  #sockets = new Set();

  static async to(port) {
    const line = new Line();
    line.port = port;
    line.server = createServer((client) => {
      if (line.isDown) return client.resetAndDestroy();
      const server = connect(line.port, "127.0.0.1");
      for (const [one, other] of [[client, server], [server, client]]) {
        line.#sockets.add(one);
        one.on("error", () => {}).on("close", () => {
          line.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    await new Promise((resolve) => line.server.listen(0, "127.0.0.1", resolve));
    line.url = `http://127.0.0.1:${line.server.address().port}`;
    return line;
  }

  /** Resets all connections, and refuses new ones until it is mended. */
  cut() {
    this.isDown = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend() {
    this.isDown = false;
  }

  close() {
    this.cut();
    this.server.close();
  }
}

/** A client whose page does not join when it has recovered. */
async function enterPage(way, url, username, conversations) {
  const page = way.open(url);
  page.connected = await page.next("connect");
  page.emit("join", { username, token: tokenOf(username), timestamp: 1 });
  assert.deepEqual(await page.next("listening"), { conversations });
  return page;
}

/** Talks n times, each with an ack, and returns the ids. */
async function talk(talker, conversation, prefix, count) {
  const ids = Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  for (const messageID of ids) {
    assert.deepEqual(await talker.acked("talk", { conversation, messageID }), { ok: true });
  }
  return ids;
}

const idsOf = (updates) => updates.map((update) => update.messageID);

let max, server, line;

describe("a client that loses its connection", { timeout: 600_000 }, () => {
  before(async () => {
    max = await startMax();
    server = await Maxtalk.start(max.url);
    line = await Line.to(server.port);
  });

  afterEach(closeAll);

  after(async () => {
    line.close();
    await server.stop();
    await max.stop();
  });

  /** Two users in one conversation: a page behind the line, and a talker who hears all that others hear. */
  async function scene(way) {
    const [red] = fresh("red");
    const talker = await enter(usual, server.url, `talker.${red}`);
    const page = await enterPage(way, line.url, `page.${red}`, [red]);
    await talker.next("joined");
    await page.upgraded();
    return { red, talker, page };
  }

  /** Waits for the page after a loss, and holds it to what it had. */
  async function recovers(page, id) {
    await page.next("connect");
    assert.equal(page.socket.recovered, true, `${page.name} has recovered`);
    assert.equal(page.socket.id, id);
  }

  for (const way of CURRENT) {
    it(`goes on where it was: ${way.name}`, async () => {
      const { red, talker, page } = await scene(way);
      const id = page.socket.id;
      const before = await talk(talker, red, "before", 2);
      await page.settled(red);
      line.cut();
      await page.next("disconnect");
      const meanwhile = await talk(talker, red, "meanwhile", 20);
      line.mend();
      await recovers(page, id);
      const later = await talk(talker, red, "later", 2);
      await page.settled(red);
      assert.deepEqual(idsOf(page.all("update")), [...before, ...meanwhile, ...later]);
      assert.deepEqual(await talk(page, red, "own", 1), ["own0"]);
      assert.equal((await talker.next("update")).messageID, "own0");
      assert.deepEqual([talker.all("left"), talker.all("joined")], [[], []]);
    });

    it(`goes on when its engine was closed: ${way.name}`, async () => {
      const { red, talker, page } = await scene(way);
      const id = page.socket.id;
      page.socket.io.engine.close();
      await page.next("disconnect");
      const meanwhile = await talk(talker, red, "meanwhile", 5);
      await recovers(page, id);
      await page.settled(red);
      assert.deepEqual(idsOf(page.all("update")), meanwhile);
      assert.deepEqual([talker.all("left"), talker.all("joined")], [[], []]);
    });
  }

  it("goes on again and again, and while everybody talks", async () => {
    const { red, talker, page } = await scene(usual);
    const id = page.socket.id;
    const told = [];
    for (let round = 0; round < 5; round++) {
      const talking = talk(talker, red, `round${round}.`, 30);
      line.cut();
      await page.next("disconnect");
      line.mend();
      await recovers(page, id);
      told.push(...(await talking));
    }
    await page.settled(red);
    assert.deepEqual(idsOf(page.all("update")), told);
    assert.deepEqual([talker.all("left"), talker.all("joined")], [[], []]);
  });

  it("is told what it has missed by number, where that is more than its outbox holds", async () => {
    const { red, talker, page } = await scene(usual);
    const id = page.socket.id;
    line.cut();
    await page.next("disconnect");
    for (let some = 0; some < 50; some++) {
      await Promise.all(Array.from({ length: 100 }, () => talk(talker, red, `m${some}.`, 1)));
    }
    line.mend();
    await recovers(page, id);
    await page.settled(red);
    const updates = page.all("update");
    const folded = updates.filter((update) => update.missed !== undefined);
    const told = updates.reduce((sum, update) => sum + (update.missed ?? 1), 0);
    assert.deepEqual([told, folded.length], [5000, 1]);
  });

  it("begins anew after it has disconnected by itself", async () => {
    const { red, talker, page } = await scene(usual);
    const id = page.socket.id;
    page.socket.disconnect();
    assert.equal((await talker.next("left")).conversation, red);
    page.socket.connect();
    await page.next("connect");
    assert.equal(page.socket.recovered, false);
    assert.notEqual(page.socket.id, id);
  });

  for (const way of ways.filter((way) => !CURRENT.includes(way))) {
    it(`notices nothing of all this: ${way.name}`, async () => {
      const [red] = fresh("red");
      const talker = await enter(usual, server.url, `talker.${red}`);
      const client = await enter(way, server.url, `client.${red}`);
      await talk(talker, red, "m", 2);
      await client.settled(red);
      assert.deepEqual(idsOf(client.all("update")), ["m0", "m1"]);
      await client.close();
      assert.equal((await talker.next("left")).conversation, red);
    });
  }
});

describe("a client that comes back to another node", { timeout: 600_000 }, () => {
  let redis, nodes;

  before(async () => {
    [max, redis] = await Promise.all([startMax(), Redis.start()]);
    nodes = await Promise.all(
      [0, 1].map(async () => {
        const admin = await freePort();
        const settings = { ADMIN__LISTEN: `127.0.0.1:${admin}`, CLUSTER__URL: redis.url, RECOVERY__CLAIM_MS: "60000" };
        return Object.assign(await Maxtalk.start(max.url, settings), { admin });
      }),
    );
    for (const { admin } of nodes) {
      await until("two nodes hear one another", async () => {
        const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
        return ["maxtalk_bus_up", "maxtalk_bus_peers"].every((name) => new RegExp(`^${name}\\{.*\\} 1$`, "m").test(text));
      });
    }
    line = await Line.to(nodes[0].port);
  });

  afterEach(closeAll);

  after(async () => {
    line.close();
    for (const node of nodes) await node.stop();
    await Promise.all([redis.stop(), max.stop()]);
  });

  for (const way of CURRENT) {
    it(`goes on where it was: ${way.name}`, async () => {
      const [red] = fresh("red");
      const talkers = await Promise.all(nodes.map((node, at) => enter(usual, node.url, `talker${at}.${red}`)));
      const page = await enterPage(way, line.url, `page.${red}`, [red]);
      const isPage = ({ username }) => username === `page.${red}`;
      for (const talker of talkers) await until("the page is heard", () => talker.all("joined").some(isPage));
      await page.upgraded();
      const id = page.socket.id;
      const told = [];
      for (const node of [nodes[1], nodes[0], nodes[1]]) {
        told.push(...(await talk(talkers[0], red, `before${node.port}.${told.length}.`, 2)));
        line.cut();
        await page.next("disconnect");
        told.push(...(await talk(talkers[1], red, `meanwhile${node.port}.${told.length}.`, 20)));
        line.port = node.port;
        line.mend();
        await page.next("connect");
        assert.equal(page.socket.recovered, true, `${page.name} has recovered`);
        assert.equal(page.socket.id, id);
        told.push(...(await talk(talkers[1], red, `later${node.port}.${told.length}.`, 2)));
      }
      await until("everything is heard", () => page.all("update").length >= told.length);
      await page.settled(red);
      assert.deepEqual(idsOf(page.all("update")).sort(), told.sort());
      assert.deepEqual(page.all("missed"), []);
      for (const talker of talkers) {
        assert.deepEqual([talker.all("left"), talker.all("joined").filter(isPage).length], [[], 1]);
      }
      line.port = nodes[0].port;
    });
  }
});

describe("a client that comes back too late", { timeout: 600_000 }, () => {
  it("begins anew", async () => {
    const max = await startMax();
    const server = await Maxtalk.start(max.url, { RECOVERY__WINDOW_MS: "200" });
    const line = await Line.to(server.port);
    const [red] = fresh("red");
    const talker = await enter(usual, server.url, `talker.${red}`);
    const page = await enterPage(way("socket.io-client 4", "websocket"), line.url, `page.${red}`, [red]);
    await talker.next("joined");
    const id = page.socket.id;
    line.cut();
    assert.equal((await talker.next("left")).conversation, red);
    line.mend();
    await page.next("connect");
    assert.equal(page.socket.recovered, false);
    assert.notEqual(page.socket.id, id);
    await closeAll();
    line.close();
    await server.stop();
    await max.stop();
  });
});
