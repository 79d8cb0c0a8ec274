/**
 * The view of the demo: draws what a Chat knows, and turns clicks and keys into calls of it. The address' fragment says
 * what is shown, `#person/conversation`, so that reload, back, and a second window work by themselves.
 *
 * Text of people reaches the page through `textContent` alone: markup in a message or a name stays text.
 */
import { Chat } from "./chat.js";

const $ = (id) => document.getElementById(id);
const base = new URL(".", location.href);
/** Where this server serves Socket.IO, and in which namespace it talks of conversations. */
const { path, namespace, demo, messageCharsMax } = document.documentElement.dataset;
const wide = matchMedia("(min-width: 45rem)");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const names = new Intl.ListFormat("en");
/** Messages of one person within this time stand together. */
const RUN_MS = 5 * 60_000;
/** The longest message that MAX takes, in characters, and how many of them are left when the page begins to count. */
const CHARS_MAX = Number(messageCharsMax);
const CHARS_LEFT_SHOWN = 200;
/** A message of nothing but a few emoji is drawn larger. */
const EMOJI_ONLY = /^(?:\p{RGI_Emoji}\s*){1,3}$/v;
/** The addresses in a message, without the punctuation behind them. */
const LINK = /https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}]/g;

/** Whom the demo offers, by username; null where there is no demo. */
let people = new Map();
/** The person who chats in this window, once picked. */
let chat = null;
/** What was on the screen at the last drawing: the conversation, and the connection's status with its due time. */
let drawn = { id: null, status: null, retryAt: 0 };
/** How many messages have come below the part of the open conversation that is on the screen. */
let below = 0;
/** The open conversation, while it was one of the person's: its id and title. */
let last = null;
/** A conversation that has gone while it was open: its title, and what was being written there. */
let lost = null;
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
    if (last?.username !== username) [last, lost] = [null, null];
    drawn = { id: null, status: null, retryAt: 0 };
    $("offline").hidden = true;
    mine.addEventListener("change", () => {
      schedule(mine);
      if (mine.maxtalk.status.code === "unauthorized") renew(mine);
    });
  }
  show("chat");
  if (chat.open !== (id ?? null)) below = 0;
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
  if (demo !== "true") people = null;
  const fill = (name, content) =>
    document.querySelectorAll(`[data-${name}]`).forEach((element) => text(element, content));
  fill("endpoint", base.href.replace(/\/$/, ""));
  fill("room", namespace);
  fill("options", path === "/socket.io/" ? "" : `, { path: "${path}" }`);
  try {
    people &&= await fetchPeople();
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

/** Draws the text of a message, with its addresses as links. */
function linked(element, content) {
  if (element.textContent === content) return;
  const parts = [];
  let end = 0;
  for (const { 0: address, index } of content.matchAll(LINK)) {
    const link = document.createElement("a");
    link.href = address;
    link.textContent = address;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    parts.push(content.slice(end, index), link);
    end = index + address.length;
  }
  element.replaceChildren(...parts, content.slice(end));
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
  if (conversation) last = { username: chat.me.username, id: conversation.id, title: conversation.title };
  else if (chat.open && chat.loaded) return leaveLost();
  const first = chat.conversations.values().next().value;
  // A wide screen has room for the list and a conversation: it need not begin with half of it empty.
  if (!chat.open && first && wide.matches) return location.replace(href(chat.me.username, first.id));
  const unread = [...chat.conversations.values()].reduce((sum, { unread }) => sum + unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${chat.name(chat.me.username)} · maxtalk`;
  $("chat").dataset.reading = Boolean(conversation);
  avatar($("my-avatar"), chat.me.username);
  text($("my-name"), chat.name(chat.me.username));
  text($("whose"), `Conversations of ${chat.name(chat.me.username)}`);
  drawState();
  drawLost();
  drawList();
  drawSecond(conversation);
  $("trouble").hidden = !chat.trouble;
  text($("trouble"), chat.trouble ?? "");
  $("nothing").hidden = Boolean(conversation);
  $("conversation").hidden = !conversation;
  if (conversation) drawConversation(conversation);
  drawn.id = conversation?.id ?? null;
}

/** Goes to the list where the open conversation is not, or no longer, one of the person's. Keeps what was begun there. */
function leaveLost() {
  const title = last?.id === chat.open ? last.title : null;
  lost = { title, draft: drafts.get(chat.open)?.trim() ?? "" };
  drafts.delete(chat.open);
  // At once: the event of the changed address comes later, and this must not be done twice.
  chat.open = null;
  location.replace(href(chat.me.username));
}

function drawLost() {
  $("lost").hidden = !lost;
  if (!lost) return;
  const { title, draft } = lost;
  const what = title ? `The conversation “${title}” has gone.` : "This conversation is not one of yours.";
  text($("lost-reason"), draft ? `${what} What you were writing is kept:` : what);
  text($("lost-draft"), draft);
  $("lost-draft").hidden = $("lost-again").hidden = !draft;
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
    // The notice stays while the page connects again, so that it does not flicker.
    if (status.state === "online") $("offline").hidden = true;
    else if (status.state !== "connecting") {
      $("offline").hidden = false;
      const refused = `The join was refused: ${status.code}. ${status.reason}`;
      text($("offline-reason"), sentence(status.state === "refused" ? refused : status.reason));
    }
  }
  drawWait();
}

const sentence = (words = "") => words && `${words[0].toUpperCase()}${words.slice(1)}`.replace(/\.?$/, ".");

/** The seconds until the next try, counted down by a timer of their own. */
function drawWait() {
  const wait = drawn.retryAt && Math.max(Math.ceil((drawn.retryAt - performance.now()) / 1000), 1);
  const action = drawn.status?.state === "refused" ? "Trying again" : "Reconnecting";
  const now = drawn.status?.state === "connecting" ? "Reconnecting." : "";
  text($("offline-wait"), wait ? `${action} in ${wait} s.` : now);
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
      if (item.id === chat.open) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      const faces = link.querySelector(".faces");
      faces.dataset.listening = item.others.some((username) => item.listening.has(username));
      // Two faces stand for a group; the one in front, which bears the mark of presence, is of somebody who listens.
      const [there, away] = [true, false].map((is) =>
        item.others.filter((username) => item.listening.has(username) === is),
      );
      drawFaces(faces, [...there, ...away].slice(0, 2).reverse());
      text(link.querySelector(".item-there"), there.length ? `, ${names.format(there.map(firstName))} listening` : "");
      text(link.querySelector(".item-title"), item.title);
      text(link.querySelector("time"), last ? moment(last.published) : "");
      const who = last && (last.own ? "You: " : item.group ? `${firstName(last.author)}: ` : "");
      const draft = item.id !== chat.open && drafts.get(item.id)?.trim();
      link.dataset.draft = Boolean(draft);
      text(
        link.querySelector(".item-last"),
        draft ? `Draft: ${draft}` : last ? who + last.content : "Nothing said yet",
      );
      const mark = link.querySelector(".unread");
      mark.hidden = !item.unread;
      text(mark, String(item.unread || ""));
      text(link.querySelector(".item-unread"), item.unread ? " unread" : "");
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
  if (drawn.id !== id) below = 0;
  $("conversation").dataset.open = id;
  text($("title"), conversation.title);
  const there = others.filter((username) => listening.has(username));
  const online = chat.maxtalk.status.state === "online";
  const verb = there.length > 1 ? "are" : "is";
  const listeners = there.length ? `${names.format(there.map(firstName))} ${verb}` : "Nobody else is";
  text($("presence"), online ? `${listeners} listening` : "");
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
    drawRoom($("text"), $("room"));
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
  const shown = new Set([...$("messages").children].map((element) => element.dataset.key));
  const oldest = $("messages").firstElementChild?.dataset.key;
  const stay = opened || nearEnd(scroll) || messages.at(-1)?.id === null;
  $("earlier").hidden = !conversation.more;
  $("no-messages").hidden = messages.length > 0 || !conversation.fetched;
  $("messages").dataset.group = conversation.group;
  const rows = rowsOf(messages, conversation.newFrom);
  list($("messages"), rows, ({ message }) => message.key, "message-item", drawMessage.bind(null, opened));
  if (stay) toEnd(opened);
  else {
    // Older messages came in above: what was being read stays where it was.
    if (oldest !== messages[0]?.key) scroll.scrollTop = top + scroll.scrollHeight - height;
    const newest = messages.findLastIndex(({ key }) => shown.has(key));
    below += messages.slice(newest + 1).filter(({ own }) => !own).length;
  }
  drawLatest();
}

/** What is drawn of each message depends on its neighbours: messages of one person within a short time are a run. */
function rowsOf(messages, newFrom) {
  const isRun = (one, other) =>
    one && other && isSameDay(one, other) && one.author === other.author && other.published - one.published < RUN_MS;
  return messages.map((message, index) => {
    const isNew = message.id !== null && message.id === newFrom;
    const follows = !isNew && isRun(messages[index - 1], message);
    const next = messages[index + 1];
    const goesOn = next?.id !== newFrom && isRun(message, next);
    const isNewDay = !messages[index - 1] || !isSameDay(messages[index - 1], message);
    return { message, isNew, isNewDay, follows, goesOn };
  });
}

const isSameDay = (one, other) => one.published.toDateString() === other.published.toDateString();

function drawMessage(opened, element, { message, isNew, isNewDay, follows, goesOn }, previous, created) {
  element.classList.toggle("own", message.own);
  element.classList.toggle("run", follows);
  element.classList.toggle("ends", !goesOn);
  element.classList.toggle("pending", message.id === null);
  if (created && !opened) element.classList.add("fresh");
  element.dataset.message = message.id ?? "";
  element.dataset.author = message.author;
  text(element.querySelector(".mark"), isNew ? "New" : "");
  text(element.querySelector(".day"), isNewDay ? day(message.published) : "");
  const author = element.querySelector(".author");
  text(author, follows ? "" : message.own ? "You" : chat.name(message.author));
  const face = element.querySelector(".avatar");
  avatar(face, message.author);
  author.style.setProperty("--hue", face.style.getPropertyValue("--hue"));
  const bubble = element.querySelector(".bubble");
  linked(bubble, message.content);
  element.classList.toggle("jumbo", EMOJI_ONLY.test(message.content));
  const time = element.querySelector("time");
  // One time for each run, at its end.
  text(time, goesOn || isNaN(message.published) ? "" : clock.format(message.published));
  if (!isNaN(message.published)) time.dateTime = message.published.toISOString();
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

/** Shows the end of the conversation or, where it was just opened, the beginning of what is new. */
function toEnd(opened = false) {
  const scroll = $("scroll");
  const mark = opened && scroll.querySelector(".mark:not(:empty)");
  scroll.scrollTop = scroll.scrollHeight;
  if (mark) scroll.scrollTop = Math.min(scroll.scrollTop, mark.offsetTop - scroll.offsetTop - 16);
}

/** The way back to the latest message, for a reader who has scrolled up. */
function drawLatest() {
  const away = !nearEnd($("scroll"));
  if (!away) below = 0;
  $("latest").hidden = !away;
  text($("latest-new"), below ? `${below} new` : "");
}

/** Says how many characters are left where they run short, and how many are too many. */
function drawRoom(field, note) {
  const left = CHARS_MAX - Array.from(field.value.trim()).length;
  note.hidden = left > CHARS_LEFT_SHOWN;
  note.dataset.over = left < 0;
  text(note, left < 0 ? `${-left} characters too many: a message has at most ${CHARS_MAX}.` : `${left} left`);
  field.setAttribute("aria-invalid", String(left < 0));
  return left >= 0;
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
addEventListener("offline", () => chat?.maxtalk.doubt());
setInterval(() => chat && drawn.retryAt && drawWait(), 250);
$("scroll").addEventListener("scroll", drawLatest, { passive: true });
$("latest").addEventListener("click", () => toEnd());
// A reader at the end stays there when the window or the composer changes its size.
let atEnd = true;
$("scroll").addEventListener("scroll", () => (atEnd = nearEnd($("scroll"))), { passive: true });
new ResizeObserver(() => atEnd && toEnd()).observe($("scroll"));

$("retry").addEventListener("click", () => {
  if (chat.maxtalk.status.connected) chat.maxtalk.join();
  else chat.maxtalk.reconnect();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const [id, content] = [chat.open, $("text").value.trim()];
  if (!content || !drawRoom($("text"), $("room"))) return;
  $("text").value = "";
  drafts.delete(id);
  typed($("text"), $("room"));
  chat.write(id, content).catch(() => {
    // What could not be sent is given back, where nothing else was begun in the meantime.
    if (chat?.open === id && !$("text").value) $("text").value = content;
    if (!drafts.get(id)) drafts.set(id, content);
    typed($("text"), $("room"));
  });
  $("text").focus();
});

/** Follows what is typed into a field: its count of characters and, where CSS cannot do it, its height. */
function typed(field, note) {
  drawRoom(field, note);
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

$("text").addEventListener("input", () => {
  drafts.set(chat.open, $("text").value);
  typed($("text"), $("room"));
});
$("first").addEventListener("input", () => typed($("first"), $("first-room")));
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

$("new").addEventListener("click", () => openStarter());

$("lost-again").addEventListener("click", () => openStarter(lost.draft));
$("lost-close").addEventListener("click", () => {
  lost = null;
  drawLost();
});

$("candidates").addEventListener("change", () => {
  $("group-name").hidden = $("candidates").querySelectorAll(":checked").length < 2;
});

function openStarter(draft = "") {
  const others = [...people.keys()].filter((username) => username !== chat.me.username);
  $("starter-form").reset();
  $("first").value = draft;
  $("group-name").hidden = true;
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
  typed($("first"), $("first-room"));
}

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
  if (!drawRoom($("first"), $("first-room"))) return;
  try {
    const name = usernames.length > 1 ? form.get("name").trim() : "";
    location.hash = href(chat.me.username, await chat.start(usernames, content, name));
    if (content === lost?.draft) lost = null;
    $("starter").close();
  } catch (error) {
    fail(error.message);
  }
});

begin();
