// Two servers behind one name: the configurations of the page on proxies that route by the tags of sids, with clients of
// several generations over each transport, and what becomes of them without the tags.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { closeAll, enter, fresh, tokenOf, way, ways } from "./client.mjs";
import { freePort } from "./daemon.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { PageProxy, SEVERAL_SERVERS, certificate, removeFiles } from "./page_proxy.mjs";

// Clients of 0.9 cannot be told which certificate to trust.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
const tls = { ca: certificate };

/** How often each kind of client connects at the same time, and how often each asks who is there. */
const EACH = 4;
const ASKS = 5;

const DEADLINE_MS = 60_000;
const PERIOD_MS = 50;

const LIBRARIES = ["socket.io-client 4", "socket.io-client 2", "socket.io-client 0.9"];

const max = await startMax();
/** The servers of the page: the address of each there, and its tag. */
const servers = await Promise.all(
  Object.entries({ "10.0.0.1:6545": "k3f9", "10.0.0.2:6545": "m7q2" }).map(async ([address, tag]) => {
    const operators = await freePort();
    const server = await Maxtalk.start(max.url, { SERVER__SID_TAG: tag, ADMIN__LISTEN: `127.0.0.1:${operators}` });
    return Object.assign(server, { address, operators });
  }),
);
const places = Object.fromEntries(servers.map(({ address, port }) => [address, `127.0.0.1:${port}`]));
afterEach(closeAll);
after(async () => {
  for (const server of servers) await server.stop();
  await max.stop();
  await removeFiles();
});

/** How many handshakes and other requests of this result each server has counted. */
function counted(result) {
  return Promise.all(
    servers.map(async ({ operators }) => {
      const text = await (await fetch(`http://127.0.0.1:${operators}/metrics`)).text();
      const rows = text.split("\n").filter((row) => row.startsWith("maxtalk_handshakes_total{"));
      return rows.filter((row) => row.includes(`result="${result}"`)).reduce((sum, row) => sum + +row.split(" ")[1], 0);
    }),
  );
}

/** Waits until something is so. */
async function until(what, isSo) {
  const late = Date.now() + DEADLINE_MS;
  while (!isSo()) {
    assert.ok(Date.now() < late, `in vain: ${what}`);
    await sleep(PERIOD_MS);
  }
}

/** Opens clients by each of these ways at the same time. All of them live on while they ask who is there. */
async function enterAndAsk(ways, url) {
  const clients = await Promise.all(
    ways.map(async (way) => {
      const [red] = fresh("red");
      const person = await enter(way, url, `ada.${red}`, { tls });
      await person.upgraded();
      for (let asked = 0; asked < ASKS; asked += 1) await person.settled(red);
      return person;
    }),
  );
  for (const person of clients) {
    for (const event of ["disconnect", "connect_error"]) assert.deepEqual(person.all(event), [], person.name);
    assert.equal(person.transport, person.way.transport === "upgrade" ? "websocket" : person.way.transport);
  }
}

for (const language of ["nginx", "caddyfile", "haproxy"]) {
  describe(`two servers by the configuration in the language ${language}`, { timeout: 600_000 }, () => {
    it("take every client, and no request comes to the wrong one", async () => {
      const everybody = ways.filter((way) => LIBRARIES.includes(way.library)).flatMap((way) => Array(EACH).fill(way));
      const before = await counted("ok");
      const proxy = await PageProxy.start(language, SEVERAL_SERVERS, places);
      try {
        await enterAndAsk(everybody, proxy.url);
        const opened = (await counted("ok")).map((now, at) => now - before[at]);
        assert.equal(opened[0] + opened[1], everybody.length, "each client has made one handshake");
        assert.ok(Math.min(...opened) > 0, `both servers have sessions: ${opened}`);
        assert.deepEqual(await counted("other_node"), [0, 0]);
      } catch (error) {
        throw new Error(`${error.message}\n${proxy.log}`, { cause: error });
      } finally {
        await closeAll();
        await proxy.end();
      }
    });
  });
}

describe("two servers behind a proxy that looks at no tag", { timeout: 600_000 }, () => {
  it("lose clients that poll, count and log that, and keep those with a WebSocket alone", async () => {
    const byNoTag = (text) => text.replace("http://$node", "http://any");
    const proxy = await PageProxy.start("nginx", SEVERAL_SERVERS, places, byNoTag);
    try {
      const pollers = Array.from({ length: 20 }, () => {
        const username = `ada.${fresh("red")[0]}`;
        const join = { username, token: tokenOf(username), timestamp: 1 };
        return way("socket.io-client 4", "polling").open(proxy.url, { join, tls });
      });
      const hasFailed = (person) => person.all("connect_error").length + person.all("disconnect").length > 0;
      await until("a client has lost its session", () => pollers.some(hasFailed));
      const counts = await counted("other_node");
      const misled = servers.filter((_, at) => counts[at] > 0);
      assert.ok(misled.length > 0, "requests have come to the wrong server");
      await until("the log says what to do", () => misled.every(({ log }) => log.includes("`maxtalk docs proxies`")));
      await closeAll();
      await enterAndAsk(Array(10).fill(way("socket.io-client 4", "websocket")), proxy.url);
    } catch (error) {
      throw new Error(`${error.message}\n${proxy.log}`, { cause: error });
    } finally {
      await closeAll();
      await proxy.end();
    }
  });
});
