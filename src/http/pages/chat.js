/**
 * One person's conversations, without a screen: MAX is asked for them and keeps the messages, maxtalk says when there
 * is something new. The page's view draws what it finds here after each `change` event.
 *
 * What this shows of a client of maxtalk: a message is first posted to MAX and then announced by `talk`; an `update`
 * carries no text, only the news that there is some, and the client fetches from MAX what it does not have yet. So a
 * missed or doubled update does no harm, and after a reconnection one fetch per conversation catches up.
 */
import { MaxTalk, now } from "./maxtalk.js";

/** As many messages are fetched at a time. */
const PAGE = 50;
/** A delivery that took less or more milliseconds than this measured two clocks that differ, and is not shown. */
const [DELIVERY_MS_MIN, DELIVERY_MS_MAX] = [-5, 60_000];
/** As many deliveries are remembered for the median. */
const DELIVERIES_MAX = 500;

/** MAX refused or did not answer: `status` is the HTTP status, 0 where there was no answer. */
export class MaxError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The calls of MAX that a chat client needs, as one person. */
class Max {
  #base;
  #headers;

  constructor(base, { username, token }) {
    this.#base = base;
    // MAX reads usernames as UTF-8, and a header of fetch takes bytes as the characters below 256.
    const bytes = String.fromCharCode(...new TextEncoder().encode(username));
    this.#headers = { "X-Oauth-Username": bytes, "X-Oauth-Token": token, "X-Oauth-Scope": "widgetcli" };
  }

  /** All conversations of the person; older MAX servers wrap the list. */
  async conversations() {
    const { body } = await this.#ask("conversations");
    return body.items ?? body;
  }

  /** Messages of a conversation, oldest first, and whether there are more than were asked for. */
  async messages(id, query = {}) {
    const search = new URLSearchParams({ limit: PAGE, ...query });
    const { body, more } = await this.#ask(`conversations/${encodeURIComponent(id)}/messages?${search}`);
    return { messages: body.items ?? body, more };
  }

  /** Posts a message; MAX answers with it and its id. */
  async post(id, content) {
    const path = `conversations/${encodeURIComponent(id)}/messages`;
    return (await this.#ask(path, { object: { objectType: "note", content } })).body;
  }

  /** Starts a conversation with `participants` by its first message; two people have one, whoever starts it. */
  async start(participants, content, displayName) {
    const contexts = [{ objectType: "conversation", participants, ...(displayName && { displayName }) }];
    return (await this.#ask("conversations", { contexts, object: { objectType: "note", content } })).body;
  }

  async #ask(path, body) {
    const request = body && { method: "POST", body: JSON.stringify(body) };
    const headers = { ...this.#headers, ...(body && { "Content-Type": "application/json" }) };
    const answer = await fetch(new URL(path, this.#base), { headers, ...request }).catch(() => null);
    const json = await answer?.json().catch(() => null);
    if (!answer?.ok || !json) throw new MaxError(answer?.status ?? 0, json?.error_description ?? "MAX does not answer");
    return { body: json, more: answer.headers.get("X-Has-Remaining-Items") === "1" };
  }
}

/** The conversations of the person `me`, kept up to date. Tells `change` whenever something is to be drawn anew. */
export class Chat extends EventTarget {
  #max;
  #open = null;
  #refreshed;

  /** The person; `people`, all that the page knows about, by username. */
  me;
  people;
  /** Conversations by id, the one with the newest activity first. */
  conversations = new Map();
  /** What went wrong last with MAX or a talk, for the person to read; null when all is well. */
  trouble = null;
  /** False until the conversations were fetched for the first time. */
  loaded = false;
  /** Milliseconds of the latest deliveries, in the order of their arrival. */
  deliveries = [];

  constructor(base, me, people, endpoint) {
    super();
    this.me = me;
    this.people = people;
    this.#max = new Max(new URL("demo/max/", base), me);
    this.maxtalk = new MaxTalk(base, endpoint)
      .on("state", ({ state }) => {
        // Somebody who is offline does not know who else listens.
        if (state === "offline") for (const conversation of this.conversations.values()) conversation.listening.clear();
        this.#changed();
      })
      .on("listening", () => (this.#refreshed = this.#refresh()))
      .on("people", ({ conversation, people }) => this.#presence(conversation, () => new Set(people)))
      .on("joined", ({ conversation, username }) => this.#presence(conversation, (there) => there.add(username)))
      .on("left", ({ conversation, username }) => this.#presence(conversation, (there) => there.delete(username)))
      .on("update", (news) => this.#update(news));
    this.maxtalk.join({ username: me.username, token: me.token });
  }

  /** The conversation on the screen, whose messages count as read. */
  get open() {
    return this.#open;
  }
  set open(id) {
    const left = id !== this.#open && this.conversations.get(this.#open);
    if (left) left.newFrom = null;
    this.#open = id;
    this.seen();
  }

  /** Marks the open conversation as read, and remembers where the unread part of it begins, unless nobody looks. */
  seen() {
    const conversation = this.conversations.get(this.#open);
    if (conversation?.unread && document.visibilityState === "visible") {
      conversation.newFrom = conversation.messages.filter(({ own }) => !own).at(-conversation.unread)?.id ?? null;
      conversation.unread = 0;
    }
    this.#changed();
  }

  /** How `username` is called. */
  name(username) {
    return this.people.get(username)?.displayName ?? username;
  }

  /** Posts `content` to MAX, and tells the others through maxtalk. The message shows at once, as a pending one. */
  async write(id, content) {
    const conversation = this.conversations.get(id);
    const author = this.me.username;
    const pending = { key: `pending-${now()}`, id: null, author, own: true, content, published: new Date() };
    conversation.pending.push(pending);
    this.trouble = null;
    this.#changed();
    try {
      pending.id = (await this.#max.post(id, content)).id;
    } catch (error) {
      conversation.pending = conversation.pending.filter((other) => other !== pending);
      this.#fail(new MaxError(error.status, `Not sent: ${error.message}`));
      throw error;
    }
    this.#talk(conversation, pending.id);
    // Our message is not simply appended: between it and the last one known there may be one of somebody else.
    await this.#catchUp(conversation).catch((error) => this.#fail(error));
  }

  /** Starts a conversation with `usernames` by its first message, and joins again so that maxtalk knows of it too. */
  async start(usernames, content, name) {
    try {
      const message = await this.#max.start([this.me.username, ...usernames], content, name);
      const id = message.contexts[0].id;
      await this.maxtalk.join();
      await this.#refreshed;
      if (!this.conversations.has(id)) await this.#refresh();
      const conversation = this.conversations.get(id);
      if (conversation) this.#talk(conversation, message.id);
      return id;
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  /** Fetches a page of older messages. */
  async earlier(id) {
    const conversation = this.conversations.get(id);
    try {
      const { messages, more } = await this.#max.messages(id, { before: conversation.messages[0].id });
      conversation.messages.unshift(...messages.map((message) => this.#message(conversation, message)));
      conversation.more = more;
      this.#changed();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Leaves; nothing changes any more. */
  close() {
    this.maxtalk.close();
  }

  /** Somebody posted. */
  #update({ conversation: id, messageID, timestamp }) {
    const conversation = this.conversations.get(id);
    if (!conversation) return;
    const tookMs = typeof timestamp === "number" ? now() - timestamp : NaN;
    if (tookMs > DELIVERY_MS_MIN && tookMs < DELIVERY_MS_MAX) {
      conversation.tookMs.set(messageID, Math.max(tookMs, 0));
      this.deliveries = [...this.deliveries.slice(1 - DELIVERIES_MAX), Math.max(tookMs, 0)];
    }
    const known = conversation.messages.find(({ id }) => id === messageID);
    if (!known) return this.#catchUp(conversation).catch((error) => this.#fail(error));
    known.tookMs = conversation.tookMs.get(messageID);
    this.#changed();
  }

  /** Announces a message. One that could not be announced is announced when the connection is back. */
  async #talk(conversation, messageID) {
    const asked = now();
    const ack = await this.maxtalk.emit("talk", { conversation: conversation.id, timestamp: asked, messageID });
    if (ack.ok) conversation.ackMs.set(messageID, now() - asked);
    else if (ack.code === "offline") conversation.unsaid.push(messageID);
    else this.trouble = `The others were not told: ${ack.code}, ${ack.reason}`;
    const message = conversation.messages.find(({ id }) => id === messageID);
    if (message) message.ackMs = conversation.ackMs.get(messageID);
    this.#changed();
  }

  /** After every join: which conversations there are, who listens, what was said in the meantime. */
  async #refresh() {
    try {
      const [known, before] = [new Set(this.conversations.keys()), this.loaded];
      const fresh = (await this.#max.conversations()).map((context) => this.#conversation(context));
      this.conversations = new Map(fresh.map((conversation) => [conversation.id, conversation]));
      this.loaded = true;
      this.trouble = null;
      this.maxtalk.emit("ask");
      await Promise.all(fresh.map((conversation) => this.#catchUp(conversation)));
      // What somebody else has begun in the meantime has not been read.
      const begun = before ? fresh.filter(({ id }) => !known.has(id) && id !== this.#open) : [];
      for (const conversation of begun) conversation.unread = conversation.messages.filter(({ own }) => !own).length;
      for (const conversation of fresh) {
        for (const messageID of conversation.unsaid.splice(0)) this.#talk(conversation, messageID);
      }
      this.#changed();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** What is known about a conversation, brought up to what MAX says about it now. */
  #conversation({ id, displayName, participants = [], tags = [] }) {
    const usernames = participants.map((person) => person.username ?? person);
    const others = usernames.filter((username) => username !== this.me.username);
    const known = this.conversations.get(id) ?? {
      ...{ id, messages: [], pending: [], more: false, unread: 0, listening: new Set() },
      ...{ tookMs: new Map(), ackMs: new Map(), unsaid: [], syncing: null, stale: false, fetched: false },
      newFrom: null,
    };
    const group = others.length > 1;
    // A group without a name of its own is called after its people, by MAX after all of them and here without oneself.
    const everybody = [usernames, usernames.map((username) => this.name(username))].map((all) => all.join(", "));
    const title = group && !everybody.includes(displayName) ? displayName : null;
    return Object.assign(known, {
      others,
      group,
      title: title || others.map((username) => this.name(username)).join(", ") || displayName || id,
      archived: tags.includes("archive"),
    });
  }

  /** Fetches what came after the last message known, one fetch at a time per conversation. */
  #catchUp(conversation) {
    conversation.stale = true;
    conversation.syncing ??= (async () => {
      try {
        while (conversation.stale) {
          conversation.stale = false;
          await this.#fetch(conversation);
        }
      } finally {
        conversation.syncing = null;
      }
    })();
    return conversation.syncing;
  }

  async #fetch(conversation) {
    const last = conversation.messages.at(-1)?.id;
    const known = new Set(conversation.messages.map(({ id }) => id));
    let { messages, more } = await this.#max.messages(conversation.id, last ? { after: last } : {});
    if (last && more) {
      // Too much was missed to be read in one piece: begin anew with the newest.
      ({ messages, more } = await this.#max.messages(conversation.id));
      conversation.messages = [];
      conversation.more = more;
    } else if (!last) conversation.more = more;
    const fresh = messages.map((message) => this.#message(conversation, message));
    conversation.messages.push(...fresh);
    if (conversation.fetched) {
      const unread = fresh.filter(({ id, own }) => !own && !known.has(id)).length;
      const looked = conversation.id === this.#open && document.visibilityState === "visible";
      if (!looked) conversation.unread += unread;
      if (fresh.length) this.conversations = new Map([[conversation.id, conversation], ...this.conversations]);
    }
    conversation.fetched = true;
    if (conversation.id === this.#open) this.seen();
    else this.#changed();
  }

  /** A message as MAX has it; one of our own that was pending keeps its key, and so its place on the screen. */
  #message(conversation, { id, actor, object, published }) {
    const author = actor?.username ?? actor;
    const content = object?.content ?? "";
    const own = author === this.me.username;
    // A fetch may be faster than the answer to our post, and then the pending message has no id yet.
    const same = (other) => other.id === id || (own && !other.id && other.content === content);
    const pending = conversation.pending.find(same);
    conversation.pending = conversation.pending.filter((other) => other !== pending);
    const [tookMs, ackMs] = [conversation.tookMs.get(id), conversation.ackMs.get(id)];
    return { key: pending?.key ?? id, id, author, own, content, published: new Date(published), tookMs, ackMs };
  }

  #presence(id, change) {
    const conversation = this.conversations.get(id);
    if (!conversation) return;
    const there = change(conversation.listening);
    if (there instanceof Set) conversation.listening = there;
    this.#changed();
  }

  #fail(error) {
    this.trouble = error.message;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
