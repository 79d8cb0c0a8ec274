// All clients of every age, over all transports that they have, in one conversation at once: each of them talks, and
// each other hears exactly that, in ASCII and beyond. A table shows who heard whom; each pair counts as a check.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { closeAll, enter, ways } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

/** The versions that are to be heard, or how they begin. */
const VERSIONS = {
  "socket.io-client 4": "4.8.4",
  "socket.io-client 3": "3.1.3",
  "socket.io-client 2": "2.5.0",
  "socket.io-client 1": "1.7.4",
  "socket.io-client 0.9": "0.9.17",
  "python-socketio 5": "5.",
  "python-socketio 4": "4.",
};

/** What is said in a conversation: its id, how the names in it begin, and the messageIDs that each of them talks of. */
const TEXTS = {
  ASCII: {
    conversation: "519b0000000000000000000a",
    name: "ada",
    messageIDs: ["519b00000000000000000001", 12345678901234, 'it\'s "quoted" \\ \\n \n </script> %41 & + ~m~'],
  },
  "beyond ASCII": {
    conversation: "é€😀-1",
    name: "joão é€😀 ",
    messageIDs: ["é€😀-1", 12345678901234, 'l\'"ÿ" \\ \\u00e9 \u2028 \u2029 \ufffd Ã© 日本 👩‍👩‍👧'],
  },
};

const EVERYBODY = 20;
const PAIRS = Object.keys(TEXTS).length * EVERYBODY * (EVERYBODY - 1);

/** In how many texts a listener heard a talker: by their indices. */
const passed = ways.map(() => ways.map(() => 0));

const max = await startMax();
const server = await Maxtalk.start(max.url);
after(async () => {
  showTable();
  await server.stop();
  await max.stop();
});

for (const [text, { conversation, name, messageIDs }] of Object.entries(TEXTS)) {
  describe(`one conversation in ${text}`, { timeout: 600_000 }, () => {
    const people = ways.map((way, index) => {
      const username = `${name}${index}.${conversation}`;
      const talks = messageIDs.map((messageID, nth) => ({ conversation, timestamp: 10 * index + nth, messageID }));
      return { way, index, username, talks, heard: [], updates: talks.map((talk) => ({ username, ...talk })) };
    });

    // What goes wrong for one of them does not keep the others from talking: it fails what is about this one.
    before(async () => {
      const tries = (what) => (person) => what(person).catch((error) => (person.trouble ??= error));
      await Promise.all(people.map(tries(join)));
      const present = people.filter((person) => person.client);
      for (const person of present) await tries(talk)(person);
      const talkers = people.filter((person) => !person.trouble);
      await Promise.all(present.map(tries((person) => listen(person, talkers.filter((one) => one !== person)))));
    });
    after(closeAll);

    async function join(person) {
      person.client = await enter(person.way, server.url, person.username);
      await person.client.upgraded();
    }

    /** Says everything in one breath, and returns when all of it is in the conversation. */
    async function talk({ client, talks }) {
      for (const ack of await Promise.all(talks.map((talk) => client.acked("talk", talk)))) {
        assert.deepEqual(ack, { ok: true });
      }
    }

    /** Keeps all that this one hears: as many updates as these talkers caused, and those that should not be. */
    async function listen({ client, way, heard }, talkers) {
      const count = talkers.length * messageIDs.length;
      try {
        while (heard.length < count) heard.push(await client.next("update"));
        await client.settled(conversation);
      } finally {
        heard.push(...client.all("update"));
        // This library hands each message to a thread of its own, and so does not keep their order.
        if (way.library.startsWith("python-socketio")) heard.sort((one, other) => one.timestamp - other.timestamp);
      }
    }

    it("is had by every client of every age", () => {
      assert.equal(people.length, EVERYBODY);
      assert.deepEqual(new Set(people.map(({ way }) => way.library)), new Set(Object.keys(VERSIONS)));
      for (const { way, client } of people) {
        const version = client?.version ?? "not there";
        assert.ok(version.startsWith(VERSIONS[way.library]), `${way.name} is ${version}`);
      }
    });

    for (const talker of people) {
      it(`${talker.way.name}: every other hears exactly what it says`, () => {
        const others = people.filter((person) => person !== talker);
        const deaf = others.filter((listener) => {
          const isHeard = isDeepStrictEqual(heardFrom(talker, listener), talker.updates);
          passed[talker.index][listener.index] += isHeard;
          return !isHeard;
        });
        if (talker.trouble) throw talker.trouble;
        const instead = deaf.map((one) => `${one.way.name} heard ${JSON.stringify(heardFrom(talker, one))}`);
        assert.equal(deaf.length, 0, [`not what was said, ${JSON.stringify(talker.updates)}:`, ...instead].join("\n"));
      });
    }

    for (const listener of people) {
      it(`${listener.way.name}: hears all others, one after the other, and not itself`, () => {
        if (listener.trouble) throw listener.trouble;
        const others = people.filter((person) => person !== listener);
        assert.deepEqual(listener.heard, others.flatMap((other) => other.updates));
      });
    }
  });
}

const heardFrom = (talker, listener) => listener.heard.filter(({ username }) => username === talker.username);

/** Who heard whom, in how many of the texts, and the sum. */
function showTable() {
  const cell = (value) => String(value).padStart(3);
  const rows = ways.map(({ name }, talker) => {
    const cells = passed[talker].map((count, listener) => cell(listener === talker ? "" : count));
    return `${cell(talker + 1)} ${name.padEnd(34)}${cells.join("")}`;
  });
  const head = `    ${"talker, and below: listener".padEnd(34)}${ways.map((_, index) => cell(index + 1)).join("")}`;
  const sum = passed.flat().reduce((sum, count) => sum + count, 0);
  const texts = Object.keys(TEXTS);
  console.log([`in how many texts of ${texts.length} who was heard by whom:`, head, ...rows].join("\n"));
  console.log(`${sum} passed, ${PAIRS - sum} failed: who was heard by whom, in ${texts.join(" and ")}`);
}
