// A MAX whose conversations the test makes as it goes, unlike the one in tests/clients, whose usernames say it all. The
// token of a user is `t-` and the username; who has none is answered by way of the service account.

import { createServer } from "node:http";

import { SERVICE } from "../clients/max.mjs";

/** A MAX in this process, on a free port. */
export class Max {
  #members = new Map();
  #server = createServer((request, response) => {
    const [status, body] = this.#answer(request);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });

  static async start() {
    const max = new Max();
    await new Promise((resolve) => max.#server.listen(0, "127.0.0.1", resolve));
    max.url = `http://127.0.0.1:${max.#server.address().port}`;
    return max;
  }

  /** Makes a conversation of these people. */
  create(id, ...usernames) {
    this.#members.set(id, new Set(usernames));
  }

  stop() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer({ url, headers }) {
    // Node reads headers as Latin-1, MAX reads them as UTF-8.
    const username = Buffer.from(headers["x-oauth-username"] ?? "", "latin1").toString("utf8");
    if (headers["x-oauth-token"] !== Buffer.from(`t-${username}`).toString("latin1")) return unauthorized;
    const path = decodeURIComponent(url);
    if (path === "/conversations") return [200, this.#conversations(username)];
    if (!path.startsWith("/people/") || username !== SERVICE.username) return unauthorized;
    const person = path.slice("/people/".length);
    return [200, { username: person, objectType: "person", talkingIn: this.#conversations(person) }];
  }

  #conversations(username) {
    const theirs = [...this.#members].filter(([, members]) => members.has(username));
    return theirs.map(([id]) => ({ id, objectType: "conversation", permissions: ["read", "write"], tags: [] }));
  }
}

const unauthorized = [401, { objectType: "error", error: "Unauthorized", error_description: "Invalid token." }];
