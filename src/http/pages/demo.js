/**
 * The view of the demo: draws what a Chat knows, and turns clicks and keys into calls of it. The address' fragment says
 * what is shown, `#person/conversation`, so that reload, back, and a second window work by themselves.
 *
 * Text of people reaches the page through `textContent` alone: whatever a message or a name contains stays text.
 */
import { Chat } from "./chat.js";

const $ = (id) => document.getElementById(id);
const base = new URL(".", location.href);
/** Where this server serves Socket.IO, and in which namespace it talks of conversations. */
const { path, namespace } = document.documentElement.dataset;
const wide = matchMedia("(min-width: 45rem)");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const names = new Intl.ListFormat("en");
/** Messages of one person within this time stand together. */
const RUN_MS = 5 * 60_000;

/** Whom the demo offers, by username; null where there is no demo. */
let people = new Map();
/** The person who chats in this window, once picked. */
let chat = null;
/** What was on the screen at the last drawing: the conversation, and the connection's status with its due time. */
let drawn = { id: null, status: null, retryAt: 0 };
/** Unsent text, by conversation. */
const drafts = new Map();

/* What is shown */

/** The fragment as `[username, conversation]`. */
function route() {
  try {
    return location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

const href = (username, id) => `#${[username, id].filter(Boolean).map(encodeURIComponent).join("/")}`;

function show(screen) {
  for (const id of ["picker", "about", "chat"]) $(id).hidden = id !== screen;
}

/** Follows the fragment: the picker, a person's list, or one conversation of it. */
function navigate() {
  if (!people) return show("about");
  const [username, id] = route();
  if (chat && chat.me.username !== username) {
    chat.close();
    chat = null;
    document.title = "maxtalk";
  }
  const person = people.get(username);
  if (!person) return drawPicker(username && `Nobody here is called ${username}.`);
  if (!chat) {
    const mine = (chat = new Chat(base, person, people, { path, namespace }));
    drawn = { id: null, status: null, retryAt: 0 };
    mine.addEventListener("change", () => {
      schedule(mine);
      if (mine.maxtalk.status.code === "unauthorized") renew(mine);
    });
  }
  show("chat");
  chat.open = id ?? null;
  schedule(chat);
}

let scheduled = false;

/** Draws once for all changes of a moment. Not by animation frames, which a window in the background does not get. */
function schedule(mine) {
  if (mine !== chat || scheduled) return;
  scheduled = true;
  queueMicrotask(() => {
    scheduled = false;
    if (chat) drawChat();
  });
}

/** The people of the demo with their tokens, by username; null where there is no demo. */
async function fetchPeople() {
  const answer = await fetch(new URL("demo/people", base));
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return new Map((await answer.json()).map((person) => [person.username, person]));
}

/** A server that was started anew has other tokens: begins again with the one of now. */
async function renew(mine) {
  const known = await fetchPeople().catch(() => people);
  if (mine !== chat || known?.get(mine.me.username)?.token === mine.me.token) return;
  people = known;
  mine.close();
  chat = null;
  navigate();
}

async function begin() {
  const fill = (name, content) => document.querySelectorAll(`[data-${name}]`).forEach((element) => text(element, content));
  fill("endpoint", base.href.replace(/\/$/, ""));
  fill("room", namespace);
  fill("options", path === "/socket.io/" ? "" : `, { path: "${path}" }`);
  try {
    people = await fetchPeople();
    navigate();
  } catch (error) {
    drawPicker(`The people of the demo cannot be fetched (${error.message}). Reload to try again.`);
  }
}

/* Drawing */

/** Sets text only where it changed, so that a screen reader is not told the same twice. */
function text(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

/**
 * Makes `parent` hold one element per item. Elements are kept by the item's key, so that nothing flickers, loses the
 * focus, or is read aloud again.
 */
function list(parent, items, key, template, fill) {
  const kept = new Map([...parent.children].map((element) => [element.dataset.key, element]));
  const wanted = new Set(items.map(key));
  for (const [old, element] of kept) if (!wanted.has(old)) element.remove();
  items.forEach((item, index) => {
    const known = kept.get(key(item));
    const element = known ?? $(template).content.firstElementChild.cloneNode(true);
    element.dataset.key = key(item);
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
    fill(element, item, items[index - 1], !known);
  });
}

/** A coloured circle with initials: every person has a colour of their own, the same in every window. */
function avatar(element, username) {
  const name = people.get(username)?.displayName ?? username;
  const words = name.split(/\s+/).filter(Boolean);
  const initials = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => Array.from(word ?? "")[0] ?? "");
  text(element, initials.join("").toUpperCase());
  const index = [...people.keys()].indexOf(username);
  // The golden angle keeps neighbours apart however many they are.
  element.style.setProperty("--hue", Math.round(205 + index * 137.5) % 360);
}

const firstName = (username) => chat.name(username).split(" ")[0];

function drawPicker(trouble) {
  show("picker");
  $("picker-trouble").hidden = !trouble;
  text($("picker-trouble"), trouble || "");
  list(
    $("people"),
    [...people.values()],
    (person) => person.username,
    "person-card",
    (element, person) => {
      const card = element.querySelector("a");
      card.href = href(person.username);
      card.dataset.person = person.username;
      avatar(card.querySelector(".avatar"), person.username);
      text(card.querySelector("strong"), person.displayName ?? person.username);
      text(card.querySelector("small"), person.username);
    },
  );
}

function drawChat() {
  const conversation = chat.conversations.get(chat.open);
  const first = chat.conversations.values().next().value;
  // A wide screen has room for the list and a conversation: it need not begin with half of it empty.
  if (!chat.open && first && wide.matches) return location.replace(href(chat.me.username, first.id));
  const unread = [...chat.conversations.values()].reduce((sum, { unread }) => sum + unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${chat.name(chat.me.username)} · maxtalk`;
  $("chat").dataset.reading = Boolean(chat.open);
  avatar($("my-avatar"), chat.me.username);
  text($("my-name"), chat.name(chat.me.username));
  drawState();
  drawList();
  drawSecond(conversation);
  $("trouble").hidden = !chat.trouble && !(chat.open && chat.loaded && !conversation);
  text($("trouble"), chat.trouble ?? (conversation ? "" : "This conversation is not one of yours."));
  $("nothing").hidden = Boolean(conversation);
  $("conversation").hidden = !conversation;
  if (conversation) drawConversation(conversation);
  drawn.id = conversation?.id ?? null;
}

function drawState() {
  const { status } = chat.maxtalk;
  if (status !== drawn.status) {
    drawn.status = status;
    drawn.retryAt = status.retryMs && performance.now() + status.retryMs;
    const labels = {
      connecting: "Connecting",
      online: "Online",
      refused: "Refused",
      offline: "Offline",
      closed: "Closed",
    };
    $("state").dataset.state = status.state;
    text($("state"), labels[status.state]);
    const reasons = { refused: `The join was refused: ${status.code}. ${status.reason}`, closed: status.reason };
    $("offline").hidden = ["connecting", "online"].includes(status.state);
    text($("offline-reason"), sentence(reasons[status.state] ?? status.reason));
  }
  drawWait();
}

const sentence = (words = "") => words && `${words[0].toUpperCase()}${words.slice(1)}`.replace(/\.?$/, ".");

/** The seconds until the next try, counted down by a timer of their own. */
function drawWait() {
  const wait = drawn.retryAt && Math.max(Math.ceil((drawn.retryAt - performance.now()) / 1000), 1);
  const action = drawn.status?.state === "refused" ? "Trying again" : "Reconnecting";
  text($("offline-wait"), wait ? `${action} in ${wait} s.` : "");
}

function drawList() {
  $("no-conversations").hidden = !chat.loaded || chat.conversations.size > 0;
  list(
    $("conversations"),
    [...chat.conversations.values()],
    ({ id }) => id,
    "conversation-item",
    (element, item) => {
      const link = element.querySelector("a");
      const last = item.pending.at(-1) ?? item.messages.at(-1);
      link.href = href(chat.me.username, item.id);
      link.dataset.conversation = item.id;
      link.toggleAttribute("aria-current", item.id === chat.open);
      const faces = link.querySelector(".faces");
      faces.dataset.listening = item.others.some((username) => item.listening.has(username));
      // Two faces stand for a group; the one in front, which bears the mark of presence, is of somebody who listens.
      const [there, away] = [true, false].map((is) =>
        item.others.filter((username) => item.listening.has(username) === is),
      );
      drawFaces(faces, [...there, ...away].slice(0, 2).reverse());
      text(link.querySelector(".item-title"), item.title);
      text(link.querySelector("time"), last ? moment(last.published) : "");
      const who = last && (last.own ? "You: " : item.group ? `${firstName(last.author)}: ` : "");
      text(link.querySelector(".item-last"), last ? who + last.content : "Nothing said yet");
      const mark = link.querySelector(".unread");
      mark.hidden = !item.unread;
      text(mark, String(item.unread || ""));
      mark.setAttribute("aria-label", `${item.unread} unread`);
    },
  );
}

function drawFaces(parent, usernames) {
  list(
    parent,
    usernames,
    (username) => username,
    "face",
    (element, username) => avatar(element, username),
  );
}

/** Offers a window as somebody who could hear this one, first of all the person talked with who is not there yet. */
function drawSecond(conversation) {
  const here = conversation?.others.filter((username) => people.has(username)) ?? [];
  const anybody = [...people.keys()].filter((username) => username !== chat.me.username);
  const username = here.find((other) => !conversation.listening.has(other)) ?? (here.length ? null : anybody[0]);
  const link = $("second");
  link.hidden = !username || (conversation && chat.maxtalk.status.state !== "online");
  if (!username) return;
  link.href = href(username, here.length ? conversation.id : null);
  link.dataset.second = username;
  text(link.querySelector("span"), `Open a window as ${firstName(username)}`);
}

function drawConversation(conversation) {
  const { id, others, listening, messages, pending } = conversation;
  $("back").href = href(chat.me.username);
  $("conversation").dataset.open = id;
  text($("title"), conversation.title);
  const there = others.filter((username) => listening.has(username));
  const online = chat.maxtalk.status.state === "online";
  const verb = there.length > 1 ? "are" : "is";
  const whoever = there.length ? `${names.format(there.map(firstName))} ${verb}` : "Nobody else is";
  text($("presence"), online ? `${whoever} listening` : "");
  list(
    $("members"),
    others,
    (username) => username,
    "member",
    (element, username) => {
      element.dataset.presence = username;
      element.dataset.listening = listening.has(username);
      element.title = `${chat.name(username)}${listening.has(username) ? " is listening" : ""}`;
      avatar(element.querySelector(".avatar"), username);
      text(element.querySelector(".unseen"), element.title);
    },
  );
  drawMessages(conversation, [...messages, ...pending]);
  $("composer").hidden = conversation.archived;
  $("archived").hidden = !conversation.archived;
  if (drawn.id !== id) {
    $("text").value = drafts.get(id) ?? "";
    if (wide.matches) $("text").focus({ preventScroll: true });
  }
  const { deliveries } = chat;
  $("deliveries").hidden = !deliveries.length;
  const median = [...deliveries].sort((a, b) => a - b)[deliveries.length >> 1];
  const count = `${deliveries.length} ${deliveries.length > 1 ? "deliveries" : "delivery"}`;
  text($("deliveries"), deliveries.length ? `${count}, median ${duration(median)}` : "");
}

function drawMessages(conversation, messages) {
  const scroll = $("scroll");
  const opened = drawn.id !== conversation.id;
  const [height, top] = [scroll.scrollHeight, scroll.scrollTop];
  const oldest = $("messages").firstElementChild?.dataset.key;
  const stay = opened || nearEnd(scroll) || messages.at(-1)?.id === null;
  $("earlier").hidden = !conversation.more;
  $("no-messages").hidden = messages.length > 0 || !conversation.fetched;
  $("messages").dataset.group = conversation.group;
  list($("messages"), messages, ({ key }) => key, "message-item", drawMessage.bind(null, opened));
  if (stay) scroll.scrollTop = scroll.scrollHeight;
  // Older messages came in above: what was being read stays where it was.
  else if (oldest !== messages[0]?.key) scroll.scrollTop = top + scroll.scrollHeight - height;
}

function drawMessage(opened, element, message, previous, created) {
  const sameDay = previous?.published.toDateString() === message.published.toDateString();
  const run = sameDay && previous.author === message.author && message.published - previous.published < RUN_MS;
  element.classList.toggle("own", message.own);
  element.classList.toggle("run", run);
  element.classList.toggle("pending", message.id === null);
  if (created && !opened) element.classList.add("fresh");
  element.dataset.message = message.id ?? "";
  element.dataset.author = message.author;
  text(element.querySelector(".day"), sameDay ? "" : day(message.published));
  const author = element.querySelector(".author");
  text(author, run ? "" : message.own ? "You" : chat.name(message.author));
  text(element.querySelector(".bubble"), message.content);
  const time = element.querySelector("time");
  text(time, isNaN(message.published) ? "" : clock.format(message.published));
  const took = element.querySelector(".took");
  if (message.tookMs !== undefined) {
    took.dataset.delivery = message.tookMs.toFixed(3);
    took.title = "From the sender's talk to its update here, through maxtalk";
    text(took, duration(message.tookMs));
  } else if (message.ackMs !== undefined) {
    took.dataset.ack = message.ackMs.toFixed(3);
    took.title = `maxtalk told the others; it said so after ${duration(message.ackMs)}`;
    text(took, "✓");
  }
}

const nearEnd = (scroll) => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

function duration(ms) {
  if (ms < 0.1) return "< 0.1 ms";
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : ms < 999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function day(date) {
  if (isNaN(date)) return "";
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  return ["Today", "Yesterday"][days] ?? `${calendar.format(date)}${days > 300 ? ` ${date.getFullYear()}` : ""}`;
}

/** The time of today's messages, the day of older ones: what fits into a list. */
function moment(date) {
  const when = day(date);
  if (when === "Today") return clock.format(date);
  return when === "Yesterday" ? when : when && date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

/* What people do */

addEventListener("hashchange", navigate);
document.addEventListener("visibilitychange", () => chat?.seen());
// Somebody else may have begun a conversation with us, of which MAX knows and maxtalk, before the next join, does not.
addEventListener("focus", () => chat?.maxtalk.status.state === "online" && chat.maxtalk.join());
addEventListener("online", () => chat?.maxtalk.status.state === "offline" && chat.maxtalk.reconnect());
setInterval(() => chat && drawn.retryAt && drawWait(), 250);
new ResizeObserver(() => nearEnd($("scroll")) && ($("scroll").scrollTop = $("scroll").scrollHeight)).observe(
  $("scroll"),
);

$("retry").addEventListener("click", () => {
  if (chat.maxtalk.status.connected) chat.maxtalk.join();
  else chat.maxtalk.reconnect();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const [id, content] = [chat.open, $("text").value.trim()];
  if (!content) return;
  $("text").value = "";
  drafts.delete(id);
  chat.write(id, content).catch(() => {
    // What could not be sent is given back, where nothing else was begun in the meantime.
    if (chat?.open === id && !$("text").value) $("text").value = content;
  });
  $("text").focus();
});

$("text").addEventListener("input", () => drafts.set(chat.open, $("text").value));
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("earlier").addEventListener("click", () => chat.earlier(chat.open));

$("second").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  // Beside this window rather than over it, in a tab of its own: the two are to be seen together.
  event.preventDefault();
  const [width, height] = [Math.min(960, screen.availWidth / 2), Math.min(innerHeight, 800)].map(Math.round);
  open(
    event.currentTarget.href,
    "_blank",
    `popup,noopener,width=${width},height=${height},left=${screen.availWidth - width}`,
  );
});

$("new").addEventListener("click", () => {
  const others = [...people.keys()].filter((username) => username !== chat.me.username);
  $("starter-form").reset();
  $("starter-trouble").hidden = true;
  list(
    $("candidates"),
    others,
    (username) => username,
    "candidate",
    (element, username) => {
      element.querySelector("input").value = username;
      avatar(element.querySelector(".avatar"), username);
      text(element.lastElementChild, people.get(username).displayName ?? username);
    },
  );
  $("starter").showModal();
});

$("cancel").addEventListener("click", () => $("starter").close());

$("starter-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const [usernames, content] = [form.getAll("with"), form.get("first").trim()];
  const fail = (reason) => {
    $("starter-trouble").hidden = false;
    text($("starter-trouble"), reason);
  };
  if (!usernames.length) return fail("Choose at least one person.");
  if (!content) return fail("MAX begins a conversation with a message: write one.");
  try {
    location.hash = href(chat.me.username, await chat.start(usernames, content));
    $("starter").close();
  } catch (error) {
    fail(error.message);
  }
});

begin();
