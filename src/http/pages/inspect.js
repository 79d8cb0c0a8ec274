/**
 * The inspector: a client that its user drives by hand. It joins any directory with a name and a token, shows each
 * packet that goes and comes, and sends talks, asks and leaves. The token lives in its field and, while
 * a session lasts, in the client.
 */
import { MaxTalk, now } from "./maxtalk.js";
import { ADVICE, Reader, withoutToken } from "./packets.js";

const $ = (id) => document.getElementById(id);
const base = new URL(".", location.href);
const { path, namespace, demo } = document.documentElement.dataset;
/** As many events are kept. */
const EVENTS_MAX = 1000;
/** As many conversations are listed; the field of the talk takes any. */
const ROOMS_MAX = 200;
const STATES = {
  closed: "Not connected",
  connecting: "Connecting",
  online: "Joined",
  refused: "Refused",
  offline: "Connection lost",
};

/** The conversations of the session, by id, each with the users who listen there; null where that is not known. */
let rooms = new Map();
let reader = new Reader();
let talks = 0;
/** How many events have come below the part of the list that is on the screen. */
let below = 0;

const client = new MaxTalk(base, { path, namespace })
  .on("frame", ({ sent, text }) => note(sent, text))
  .on("state", drawState)
  .on("listening", ({ conversations }) => {
    rooms = new Map(conversations.map((id) => [id, rooms.get(id) ?? null]));
    drawRooms();
  })
  .on("people", ({ conversation, people, inroom }) => presence(conversation, people.length || !inroom ? people : null))
  .on("joined", ({ conversation, username }) => {
    const people = rooms.get(conversation);
    if (people) presence(conversation, [...people.filter((one) => one !== username), username]);
  })
  .on("left", ({ conversation, username }) => {
    const people = rooms.get(conversation);
    if (people)
      presence(
        conversation,
        people.filter((one) => one !== username),
      );
  });

/* The list of events */

const clock = (date) => date.toTimeString().slice(0, 8) + `.${String(date.getMilliseconds()).padStart(3, "0")}`;

function note(sent, text) {
  if (text[0] === "0" && !sent) reader = new Reader();
  const { name, read, heartbeat, bad } = reader.read(text, sent, performance.now());
  add({ way: sent ? "sent" : "heard", name, read, heartbeat, bad, raw: withoutToken(text) });
}

/** Adds a line at the end, and lets go of the oldest ones. */
function add({ way, name, read, raw = "", heartbeat = false, bad = false }) {
  const stay = nearEnd();
  const element = $("event-item").content.firstElementChild.cloneNode(true);
  const at = new Date();
  Object.assign(element.dataset, { way, event: name, heartbeat, bad });
  const time = element.querySelector("time");
  time.dateTime = at.toISOString();
  time.textContent = clock(at);
  element.querySelector(".way").textContent = { sent: "→ sent", heard: "← heard", note: "• note" }[way];
  element.querySelector(".name").textContent = name;
  element.querySelector(".read").textContent = read;
  element.querySelector(".raw").textContent = raw;
  $("events").append(element);
  while ($("events").childElementCount > EVENTS_MAX) $("events").firstElementChild.remove();
  if (!stay && !(heartbeat && !$("heartbeats").checked)) below += 1;
  drawCount();
  if (stay) toEnd();
  drawLatest();
}

function drawCount() {
  const count = $("events").childElementCount;
  $("nothing").hidden = count > 0;
  $("count").textContent = count ? `${count}${count === EVENTS_MAX ? ", older ones are gone" : ""}` : "";
}

const nearEnd = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 40;
const toEnd = () => ($("scroll").scrollTop = $("scroll").scrollHeight);

function drawLatest() {
  const away = !nearEnd();
  if (!away) below = 0;
  $("latest").hidden = !away;
  $("latest-new").textContent = below ? `${below} new` : "";
}

/* The session */

let told = null;
/** Who joined last, as JSON. */
let joined = null;

function drawState({ state, code, reason, retryMs }) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
  $("disconnect").hidden = state === "closed";
  $("join-now").textContent = state === "online" ? "Join again" : "Join";
  $("joined").hidden = state !== "online";
  $("refusal").hidden = state !== "refused";
  const again = retryMs ? ` The next try is in ${(retryMs / 1000).toFixed(1)} s.` : "";
  $("refusal-reason").textContent = code ? `${code}: ${reason ?? ""}` : "";
  $("refusal-advice").textContent = (ADVICE[code] ?? "") + again;
  if (state === "offline") {
    add({ way: "note", name: "connection", bad: true, read: `${reason}.${again}` });
    rooms = new Map();
    drawRooms();
  } else if (state === "closed" && told !== "closed") {
    add({ way: "note", name: "connection", read: reason ?? "closed by this page" });
    rooms = new Map();
    drawRooms();
  }
  told = state;
}

function presence(id, people) {
  if (!rooms.has(id)) return;
  rooms.set(id, people);
  drawRooms();
}

function drawRooms() {
  const kept = new Map([...$("rooms").children].map((element) => [element.dataset.room, element]));
  for (const [id, element] of kept) if (!rooms.has(id)) element.remove();
  for (const [id, people] of [...rooms].slice(0, ROOMS_MAX)) {
    let element = kept.get(id);
    if (!element) {
      element = $("room-item").content.firstElementChild.cloneNode(true);
      element.dataset.room = id;
      element.querySelector(".room-id").textContent = id;
      for (const button of element.querySelectorAll("button")) {
        button.setAttribute("aria-label", `${button.textContent} ${id}`);
      }
      $("rooms").append(element);
    }
    const words = people ? people.join(", ") || "nobody listens" : "ask who listens";
    element.querySelector(".room-people").textContent = words;
  }
  $("no-rooms").hidden = rooms.size > 0;
  $("joined-title").textContent = `Conversations (${rooms.size})`;
  const known = [...rooms.keys()]
    .slice(0, ROOMS_MAX)
    .map((id) => Object.assign(document.createElement("option"), { value: id }));
  $("known").replaceChildren(...known);
  if (!$("where").value && rooms.size) $("where").value = rooms.keys().next().value;
}

/* What its user does */

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const { username, token, scope } = Object.fromEntries(new FormData(event.target));
  const identity = { username, ...(token && { token }), ...(scope && { scope }) };
  // A session remembers a token. Somebody else, or the same user with another token, begins a session of their own.
  if (joined !== JSON.stringify(identity) && client.status.state !== "closed") client.close();
  joined = JSON.stringify(identity);
  client.join(identity);
});
$("disconnect").addEventListener("click", () => {
  joined = null;
  client.close();
});
$("ask-all").addEventListener("click", () => client.emit("ask"));
$("leave-all").addEventListener("click", () => client.emit("leave"));
$("rooms").addEventListener("click", ({ target }) => {
  const id = target.closest("[data-room]")?.dataset.room;
  switch (target.closest("[data-do]")?.dataset.do) {
    case "ask":
      return client.emit("ask", id);
    case "leave":
      return client.emit("leave", id);
    case "talk":
      $("where").value = id;
      $("what").focus();
  }
});
$("talk").addEventListener("submit", (event) => {
  event.preventDefault();
  const messageID = $("what").value || `inspect-${++talks}`;
  client.emit("talk", { conversation: $("where").value, timestamp: now(), messageID });
});

$("raw").addEventListener("change", () => ($("events").dataset.raw = $("raw").checked));
$("heartbeats").addEventListener("change", () => ($("events").dataset.heartbeats = $("heartbeats").checked));
$("clear").addEventListener("click", () => {
  $("events").replaceChildren();
  $("copied").textContent = "";
  drawCount();
  drawLatest();
});
$("copy").addEventListener("click", async () => {
  const lines = [...$("events").children].map((element) =>
    [...element.children]
      .map(({ textContent }) => textContent)
      .filter(Boolean)
      .join("\t"),
  );
  const done = await navigator.clipboard?.writeText(lines.join("\n")).then(
    () => true,
    () => false,
  );
  $("copied").textContent = done ? `${lines.length} copied` : "This browser lets no page copy here.";
});
$("scroll").addEventListener("scroll", drawLatest, { passive: true });
$("latest").addEventListener("click", toEnd);
addEventListener("online", () => client.status.state === "offline" && client.reconnect());
addEventListener("offline", () => client.doubt());

/** Suggests the people of the demo to a user without a directory of their own. */
async function suggest() {
  if (demo !== "true") return;
  const people = await fetch(new URL("demo/people", base)).then((answer) => answer.json());
  const options = people.map(({ username }) => Object.assign(document.createElement("option"), { value: username }));
  $("people").replaceChildren(...options);
}

suggest().catch(() => {});
