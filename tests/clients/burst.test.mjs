// A thousand people join one conversation in one breath, and then each of them talks in one breath: nobody is closed,
// refused or left out, those on polling included.

import assert from "node:assert/strict";
import { after, it } from "node:test";

import { io } from "socket.io-client";

import { fresh, tokenOf } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const PEOPLE = 1_000;
const POLLING = 20;
const CONNECTING_AT_ONCE = 50;

/** More than the burst takes on a machine with much else to do. No deadline of the server shall decide this test. */
const PATIENCE_MS = "250000";

const max = await startMax();
const server = await Maxtalk.start(max.url, {
  SERVER__REQUEST_TIMEOUT_MS: PATIENCE_MS,
  SERVER__WRITE_TIMEOUT_MS: PATIENCE_MS,
  PROTOCOL__PING_TIMEOUT_MS: PATIENCE_MS,
  PROTOCOL__CONNECT_TIMEOUT_MS: PATIENCE_MS,
  OUTBOX__GRACE_MS: PATIENCE_MS,
  MAX__TIMEOUT_MS: PATIENCE_MS,
  MAX__WAIT_MS: PATIENCE_MS,
});
after(async () => {
  await server.stop();
  await max.stop();
});

it(`${PEOPLE} joins and ${PEOPLE} talks at once close nobody, and all hear all`, { timeout: 600_000 }, async () => {
  const [red] = fresh("red");
  const crowd = [];
  let report;
  const trouble = new Promise((_, reject) => (report = reject));
  const all = (said) => Promise.race([trouble, Promise.all(crowd.map(said))]);
  try {
    for (let index = 0; index < PEOPLE; index += 1) {
      // The pollers are spread over the crowd, so that they join and talk in the middle of it.
      const transport = index % (PEOPLE / POLLING) ? "websocket" : "polling";
      crowd.push(new Person(index, `u${index}.${red}`, server.url, transport, report));
      if (crowd.length % CONNECTING_AT_ONCE === 0) await all((person) => person.connected);
    }
    const joins = await all((person) => person.join());
    const talks = await all((person) => person.talk(red));
    for (const ack of [...joins, ...talks]) assert.deepEqual(ack, { ok: true });
    await all((person) => person.satisfied);

    const order = (person, other) => person.heard.filter((index) => index !== person.index && index !== other.index);
    const first = crowd[0];
    for (const person of crowd) {
      assert.ok(person.isConnected, `${person.username} was closed`);
      assert.equal(new Set(person.heard).size, PEOPLE - 1, `${person.username} heard something twice`);
      assert.ok(!person.heard.includes(person.index), `${person.username} heard itself`);
      assert.deepEqual(order(person, first), order(first, person), `${person.username} heard another order`);
    }
  } finally {
    for (const person of crowd) person.close();
  }
});

/** One of the crowd, who keeps no more of what it hears than who talked, and reports what should not happen. */
class Person {
  heard = [];
  #socket;

  constructor(index, username, url, transport, report) {
    this.index = index;
    this.username = username;
    this.#socket = io(`${url}/max`, { forceNew: true, transports: [transport], reconnection: false });
    this.connected = new Promise((resolve) => this.#socket.on("connect", resolve));
    this.satisfied = new Promise((resolve) =>
      this.#socket.on("update", ({ messageID }) => {
        if (this.heard.push(messageID) === PEOPLE - 1) resolve();
      }),
    );
    for (const event of ["connect_error", "disconnect", "refused"]) {
      this.#socket.on(event, (what, details) => {
        // The client knows why: the status of a refused request, or the code by which its socket was closed.
        const cause = details?.description ?? what.description;
        const why = cause?.message ?? cause?.code ?? cause ?? "";
        const context = details?.context ?? what.context;
        const answer = context ? `, status ${context.status}: ${context.responseText}` : "";
        report(new Error(`${username}, ${transport}: ${event}, ${what.message ?? what.code ?? what} ${why}${answer}`));
      });
    }
  }

  get isConnected() {
    return this.#socket.connected;
  }

  join() {
    return this.#say("join", { username: this.username, token: tokenOf(this.username) });
  }

  talk(conversation) {
    return this.#say("talk", { conversation, messageID: this.index });
  }

  /** Emits an event, and returns the ack. */
  #say(event, data) {
    return new Promise((resolve) => this.#socket.emit(event, data, resolve));
  }

  close() {
    this.#socket.off("disconnect");
    this.#socket.disconnect();
  }
}
