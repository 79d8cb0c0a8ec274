// A MAX for the tests, on a thread of its own so that it answers however busy the clients are. It remembers nothing: a
// username names its conversations, so `ada.red.blue` is in `red` and `blue`, and her token is `t-ada.red.blue`. A name
// without a dot is nobody that this MAX knows.

import { createServer } from "node:http";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

/** The account that may ask about people who have no token. */
export const SERVICE = { username: "maxtalk", token: "t-maxtalk" };

/** MAX usually lives below a path. */
const BASE = "/max/domain";

/** Starts a MAX on a free port: its base URL, and how to end it. */
export async function startMax() {
  const worker = new Worker(new URL(import.meta.url));
  worker.unref();
  const port = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  return { url: `http://127.0.0.1:${port}${BASE}`, stop: () => worker.terminate() };
}

function answer(request) {
  // Node reads headers as Latin-1, MAX reads them as UTF-8.
  const header = (name) => Buffer.from(request.headers[name] ?? "", "latin1").toString("utf8");
  const username = header("x-oauth-username").toLowerCase();
  const known = username.includes(".") || username === SERVICE.username;
  if (!known || header("x-oauth-token") !== `t-${username}` || header("x-oauth-scope") !== "widgetcli") {
    return refusal(401, "Unauthorized", "Invalid token.");
  }
  const path = new URL(request.url, "http://max").pathname;
  if (path === `${BASE}/conversations`) {
    return [200, conversations(username).map((id) => ({ id, objectType: "conversation", participants: [], tags: [] }))];
  }
  if (path.startsWith(`${BASE}/people/`)) {
    if (username !== SERVICE.username) return refusal(403, "Forbidden", "Only a manager may look at people.");
    const person = decodeURIComponent(path.slice(`${BASE}/people/`.length)).toLowerCase();
    if (!person.includes(".")) return refusal(400, "UnknownUserError", `Unknown user: ${person}`);
    const permissions = ["read", "write"];
    const talkingIn = conversations(person).map((id) => ({ id, objectType: "conversation", permissions }));
    return [200, { username: person, displayName: person, objectType: "person", talkingIn }];
  }
  return refusal(404, "ObjectNotFound", path);
}

const conversations = (username) => username.split(".").slice(1);
const refusal = (status, error, text) => [status, { objectType: "error", error, error_description: text }];

if (!isMainThread) {
  const server = createServer((request, response) => {
    const [status, body] = answer(request);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
}
