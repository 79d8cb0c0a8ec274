// All clients of every age behind real proxies, as operators set them up: everybody connects, joins, talks and hears
// over each transport. And what only proxies do: they keep connections for other clients, ask whether the server is
// well, and say whom they speak for.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { closeAll, enter, fresh, oldest, usual, way, ways } from "./client.mjs";
import { freePort } from "./daemon.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { Proxy } from "./proxy.mjs";

const OPERATORS = await freePort();

/** The ports of nginx beside the first, each for a configuration. */
const NGINX = ["POOL", "HEADERS", "PLAIN"];

/** How long a proxy may take to find the server well, and how often it is looked at. */
const DEADLINE_MS = 60_000;
const PERIOD_MS = 100;

const max = await startMax();
const server = await Maxtalk.start(max.url, { ADMIN__LISTEN: `127.0.0.1:${OPERATORS}` });
const nginx = await Proxy.start("nginx", { SERVER: server.port }, ...NGINX);
const lighttpd = await Proxy.start("lighttpd", { SERVER: server.port });
const haproxy = await Proxy.start("haproxy", { SERVER: server.port, OPERATORS }, "STATISTICS");
afterEach(closeAll);
after(async () => {
  for (const proxy of [nginx, lighttpd, haproxy]) await proxy.stop();
  await server.stop();
  await max.stop();
});

/** Where clients connect, whether a WebSocket gets through there, and where the answers are written down. */
const PROXIES = {
  "nginx as socket.io's documentation has it": { proxy: nginx, log: "documented.log" },
  "nginx with a pool of connections": { proxy: nginx, port: "POOL", log: "pool.log" },
  "nginx with the headers alone": { proxy: nginx, port: "HEADERS", log: "headers.log" },
  "nginx as it is by itself": { proxy: nginx, port: "PLAIN", log: "plain.log", websocket: false },
  lighttpd: { proxy: lighttpd, log: "lighttpd.log" },
  HAProxy: { proxy: haproxy },
};

for (const [name, { proxy, port = "PORT", log, websocket = true }] of Object.entries(PROXIES)) {
  const url = proxy.at(port);
  describe(`behind ${name}`, { timeout: 600_000 }, () => {
    for (const way of [...ways, oldest]) {
      if (way.transport === "websocket" && !websocket) continue;
      it(`${way.name}: joins, talks and hears`, async () => {
        const [red] = fresh("red");
        const person = await enter(way, url, `ada.${red}`);
        if (websocket) await person.upgraded();
        const neighbour = await enter(usual, server.url, `ben.${red}`);
        for (const [talker, listener] of [
          [person, neighbour],
          [neighbour, person],
        ]) {
          for (let messageID = 0; messageID < 5; messageID += 1) {
            assert.deepEqual(await talker.acked("talk", { conversation: red, messageID }), { ok: true });
          }
          const heard = [];
          while (heard.length < 5) heard.push((await listener.next("update")).messageID);
          assert.deepEqual(heard.sort(), [0, 1, 2, 3, 4]);
          await listener.hearsNo("update", red);
        }
        const expected = way.transport === "upgrade" ? (websocket ? "websocket" : "polling") : way.transport;
        assert.equal(person.transport, expected);
      });
    }

    it("60 pollers who talk at once lose no session, and get no answer but the server's", async () => {
      const PAIRS = 30;
      const TALKS = 20;
      const polling = ways.filter((way) => way.library.startsWith("socket.io") && way.transport.endsWith("polling"));
      const pairs = await Promise.all(
        Array.from({ length: PAIRS }, (_, index) => {
          const [red] = fresh("red");
          const open = (person) => enter(polling[index % polling.length], url, `${person}.${red}`);
          return Promise.all([open("ada"), open("ben")]);
        }),
      );
      const people = pairs.flat();
      await Promise.all(
        people.map(async (person) => {
          const [red] = person.listening;
          for (let messageID = 0; messageID < TALKS; messageID += 1) {
            assert.deepEqual(await person.acked("talk", { conversation: red, messageID }), { ok: true });
          }
        }),
      );
      for (const person of people) {
        for (let messageID = 0; messageID < TALKS; messageID += 1) {
          assert.equal((await person.next("update")).messageID, messageID, person.name);
        }
        for (const event of ["disconnect", "connect_error"]) assert.deepEqual(person.all(event), [], person.name);
      }
      if (log) {
        const answers = await proxy.answers(log);
        assert.ok(answers[200] > PAIRS * TALKS, JSON.stringify(answers));
        assert.deepEqual([answers[502], answers[504]], [undefined, undefined], JSON.stringify(answers));
      }
    });
  });
}

describe("a load balancer", { timeout: 600_000 }, () => {
  for (const backend of ["asks_by_habit", "asks_for_a_head", "asks_for_health"]) {
    it(`that ${backend.replaceAll("_", " ")} finds the server well`, async () => {
      const late = Date.now() + DEADLINE_MS;
      let verdict;
      do {
        await sleep(PERIOD_MS);
        const table = await (await fetch(`${haproxy.at("STATISTICS")}/;csv`)).text();
        const [names, ...rows] = table.split("\n").map((line) => line.split(","));
        const row = rows.find(([proxy, name]) => proxy === backend && name === "maxtalk");
        verdict = row[names.indexOf("check_status")];
      } while (!verdict.endsWith("L7OK") && Date.now() < late);
      // It has a star before it while the next check is under way.
      assert.match(verdict, /^(\* )?L7OK$/);
    });
  }

  for (const [port, request, status] of [
    [server.port, "OPTIONS / HTTP/1.0\r\n\r\n", 204],
    [server.port, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 204],
    [server.port, "HEAD / HTTP/1.0\r\n\r\n", 200],
    [server.port, "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404],
    [OPERATORS, "GET /health HTTP/1.0\r\n\r\n", 200],
    [OPERATORS, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200],
  ]) {
    const where = port === OPERATORS ? "operators" : "clients";
    it(`gets ${status} for ${request.split("\r\n")[0]} where ${where} connect`, async () => {
      const answer = await exchange(port, request);
      const [head, ...body] = answer.split("\r\n\r\n");
      assert.match(head, new RegExp(`^HTTP/1.1 ${status} `));
      if (request.startsWith("HEAD")) assert.equal(body.join(""), "", "HEAD has no body");
    });
  }
});

/** Sends a request, and returns all that comes until the server closes. */
function exchange(port, request) {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket.setEncoding("latin1").on("data", (text) => (answer += text));
    socket.once("end", () => resolve(answer)).once("error", reject);
  });
}

describe("the demo, which takes joins without a token from this machine only", { timeout: 600_000 }, () => {
  const STRANGER = "198.51.100.7";
  const HEADERS = { "X-Forwarded-For": STRANGER };
  const polling = way("socket.io-client 4", "polling");

  for (const [does, settings, code] of [
    ["knows nobody but the proxy by default", {}, undefined],
    ["believes its proxies about a stranger", { SERVER__TRUSTED_PROXIES: "127.0.0.1" }, "token_required"],
  ]) {
    it(does, async () => {
      const demo = await Maxtalk.on(settings);
      await demo.start();
      const fronts = [];
      try {
        for (const program of ["nginx", "lighttpd", "haproxy"]) {
          const front = await Proxy.start(program, { SERVER: demo.port, OPERATORS }, ...NGINX, "STATISTICS");
          fronts.push(front);
          const [{ username }] = await (await fetch(`${demo.url}/demo/people`)).json();
          for (const way of [usual, polling]) {
            const join = async (headers) => {
              const client = way.open(front.url, { headers });
              await client.next("connect");
              return client.acked("join", { username });
            };
            assert.equal((await join({})).ok, true, `${program}, ${way.name}: from this machine`);
            assert.equal((await join(HEADERS)).code, code, `${program}, ${way.name}: from ${STRANGER}`);
          }
        }
      } finally {
        await closeAll();
        for (const front of fronts) await front.stop();
        await demo.stop();
      }
    });
  }
});
