// Three nodes of a cluster behind a real nginx, with clients of every age over each transport: whoever talks and whoever
// listens are on different nodes. The configuration is the one for two servers of the page on proxies, with one more.
// Requests with a sid go to the node with its tag, and all others to one node after the other.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";

import { closeAll, enter, fresh, ways } from "./client.mjs";
import { freePort } from "./daemon.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { PageProxy, SEVERAL_SERVERS, removeFiles } from "./page_proxy.mjs";
import { Redis, until } from "./redis.mjs";

/** The address of each server as the configuration has it, and its tag. */
const NODES = { "10.0.0.1:6545": "k3f9", "10.0.0.2:6545": "m7q2", "10.0.0.3:6545": "t5x8" };

/** How often each client talks. */
const TALKS = 5;

const [max, redis] = await Promise.all([startMax(), Redis.start()]);
const nodes = await Promise.all(Object.entries(NODES).map(([address, tag]) => startNode(address, tag)));
const places = Object.fromEntries(nodes.map(({ address, port }) => [address, `127.0.0.1:${port}`]));
const proxy = await PageProxy.start("nginx", SEVERAL_SERVERS, places, withThreeServers);
const url = `http://127.0.0.1:${proxy.port}`;
for (const node of nodes) {
  const others = nodes.length - 1;
  await until("all nodes hear one another", async () => (await metric(node, "maxtalk_bus_peers")) === others);
}
afterEach(closeAll);
after(async () => {
  await proxy.end();
  for (const node of nodes) await node.stop();
  await redis.stop();
  await max.stop();
  await removeFiles();
});

async function startNode(address, tag) {
  const operators = await freePort();
  const settings = { SERVER__SID_TAG: tag, ADMIN__LISTEN: `127.0.0.1:${operators}`, CLUSTER__URL: redis.url };
  return Object.assign(await Maxtalk.start(max.url, settings), { address, operators });
}

/** The block of the page with one more server, and without TLS, which clients of some ages do not speak with a test. */
function withThreeServers(text) {
  const rows = (part) => text.split("\n").filter((row) => row.includes(part));
  const [third, tag] = Object.entries(NODES)[2];
  let changed = text.replace(" ssl;", ";").replaceAll(/^ *ssl_certificate.*\n/gm, "");
  const [inUpstream, inMap] = rows("10.0.0.2:6545");
  for (const row of [inUpstream, inMap]) {
    changed = changed.replace(row, `${row}\n${row.replace("10.0.0.2:6545", third).replace("m7q2", tag)}`);
  }
  assert.equal(changed.split(third).length - 1, 2, changed);
  return changed;
}

async function metric({ operators }, name, labels = "") {
  const text = await (await fetch(`http://127.0.0.1:${operators}/metrics`)).text();
  const rows = text.split("\n").filter((row) => row.startsWith(`${name}{`) && row.includes(labels));
  return rows.reduce((sum, row) => sum + +row.split(" ").at(-1), 0);
}

/** How many handshakes and other requests with this result each node has counted. */
const counted = (result) =>
  Promise.all(nodes.map((node) => metric(node, "maxtalk_handshakes_total", `result="${result}"`)));

/** Opens a client, and returns it with the number of its node: the one that has counted its handshake. */
async function enterSomewhere(way, username) {
  const before = await counted("ok");
  const client = await enter(way, url, username);
  await client.upgraded();
  const opened = (await counted("ok")).map((now, at) => now - before[at]);
  assert.deepEqual([...opened].sort(), [0, 0, 1], `${client.name} has made one handshake`);
  return { client, node: opened.indexOf(1) };
}

describe("three nodes behind nginx", { timeout: 600_000 }, () => {
  for (const [at, way] of ways.entries()) {
    // Others are of another library, and over another transport where there is one.
    const others = [ways[(at + 4) % ways.length], ways[(at + 11) % ways.length]];
    it(`${way.name}: talks to and hears ${others.map(({ name }) => name).join(" and ")} on other nodes`, async () => {
      const [red] = fresh("red");
      const people = [];
      for (const [nth, each] of [way, ...others].entries()) {
        people.push(await enterSomewhere(each, `p${nth}.${red}`));
        const { username } = people[nth].client.join;
        for (const { client } of people.slice(0, nth)) {
          assert.deepEqual(await client.next("joined"), { conversation: red, username }, client.name);
        }
      }
      assert.equal(new Set(people.map(({ node }) => node)).size, nodes.length, "each is on a node of its own");
      for (const { client: talker } of people) {
        const { username } = talker.join;
        for (let nth = 0; nth < TALKS; nth += 1) {
          const talk = { conversation: red, timestamp: nth, messageID: `${username}.${nth}` };
          assert.deepEqual(await talker.acked("talk", talk), { ok: true });
          for (const { client } of people) {
            if (client !== talker) assert.deepEqual(await client.next("update"), { username, ...talk }, client.name);
          }
        }
      }
      for (const { client } of people) {
        client.emit("ask", red);
        const names = people.map((person) => person.client.join.username);
        assert.deepEqual(await client.next("people"), { conversation: red, inroom: 3, people: names }, client.name);
        await client.hearsNo("update", red);
        for (const event of ["disconnect", "connect_error", "left", "missed"]) {
          assert.deepEqual(client.all(event), [], `${client.name}: ${event}`);
        }
      }
    });
  }

  it("have all served, and no request came to the wrong one", async () => {
    const opened = await counted("ok");
    assert.equal(opened.reduce((sum, count) => sum + count), 3 * ways.length);
    assert.deepEqual(opened, nodes.map(() => ways.length), "one node after the other");
    assert.deepEqual(await counted("other_node"), [0, 0, 0]);
    assert.deepEqual(await counted("unknown_sid"), [0, 0, 0]);
  });
});
