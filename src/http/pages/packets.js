/**
 * What a frame of the WebSocket means, in words: the layers of Engine.IO and Socket.IO, and the events of maxtalk. No
 * I/O; the inspector shows what it finds here.
 */

/** `<type>[<namespace>,][<ack id>][<json>]`, the text of a Socket.IO packet without attachments. */
const PACKET = /^(\d)(?:(\/[^,]*),?)?(\d+)?(.*)$/s;
/** A token in the text of a packet. It is shown to nobody, and copied nowhere. */
const TOKEN = /("token"\s*:\s*)"(?:[^"\\]|\\.)*"/g;

/** What to look at after a refusal, by its code. */
export const ADVICE = {
  bad_username: "A username has 1 to 256 bytes, without control characters and outer white space.",
  token_required: "Enter a token, or let people in without one: max.tokenless_joins with a service account.",
  unauthorized:
    "The directory answered 401 or 403 to this name with this token. Ask it the same by curl: " +
    "GET {max.url}/people/{username} with X-Oauth-Username, X-Oauth-Token and X-Oauth-Scope.",
  unknown_user: "The directory knows no such user. Look at the spelling: names are asked for in lower case.",
  too_many_conversations: "The directory lists more conversations than max.conversations_max.",
  busy: "A queue of the server is full, or the directory is slow. The join is tried again.",
  rate_limited: "This session sends too much, or the user has session.per_user_max sessions.",
  max_timeout: "The directory did not answer within max.timeout_ms. Is it slow, or does a firewall swallow the call?",
  max_unavailable: "The directory cannot be reached, or answers 5xx. Look at max.url, and at the log of the server.",
  max_error: "The directory answered with a status that a directory does not use, or redirected the call.",
  max_garbage: "The answer is not the JSON that is expected, or names another user. Page “Back end” has its form.",
  max_too_large: "The answer is longer than max.body_bytes_max.",
  forbidden: "The user is not in this conversation, or there is none of this id.",
};

/** Hides the token in the text of a frame. */
export const withoutToken = (text) => text.replace(TOKEN, '$1"•••"');

/** Reads frames in the order of the connection: it knows which acknowledgement answers which event. */
export class Reader {
  #asked = new Map();

  /**
   * What a frame is: its `name`, its meaning in words as `read`, whether it is a `heartbeat`, and for a refusal that it
   * is `bad`. `atMs` is the time of the frame.
   */
  read(text, sent, atMs) {
    const [type, rest] = [text[0], text.slice(1)];
    switch (type) {
      case "0":
        return { name: "open", read: opened(parsed(rest)) };
      case "1":
        return { name: "close", read: "the server closes the connection" };
      case "2":
      case "3":
        return {
          name: type === "2" ? "ping" : "pong",
          heartbeat: true,
          read: sent ? "I am here" : "is anybody there?",
        };
      case "4":
        return this.#packet(rest, sent, atMs);
    }
    return { name: `packet ${type}`, read: "" };
  }

  #packet(text, sent, atMs) {
    const [, type, namespace = "/", ackId, json] = PACKET.exec(text) ?? [];
    const data = parsed(json);
    switch (type) {
      case "0":
        return { name: "connect", read: sent ? `to the namespace ${namespace}` : `${namespace} is open` };
      case "1":
        return { name: "disconnect", read: `the session in ${namespace} ends` };
      case "2": {
        const [name, argument] = Array.isArray(data) ? data : [];
        if (sent && ackId) this.#asked.set(ackId, { name, atMs });
        const words = (sent ? SENT : HEARD)[name];
        return { name: String(name), read: words?.(argument ?? {}) ?? "", bad: name === "refused" };
      }
      case "3":
        return this.#acknowledged(ackId, data?.[0] ?? {}, atMs);
      case "4":
        return { name: "connect_error", read: data?.message ?? "", bad: true };
    }
    return { name: `packet 4${type}`, read: "" };
  }

  #acknowledged(ackId, ack, atMs) {
    const asked = this.#asked.get(ackId);
    this.#asked.delete(ackId);
    const after = asked ? `, after ${(atMs - asked.atMs).toFixed(1)} ms` : "";
    const what = asked ? `${asked.name} ` : "";
    if (ack.ok) return { name: "ack", read: `${what}accepted${after}` };
    return { name: "ack", bad: true, read: `${what}refused${after}: ${ack.code}, ${ack.reason}` };
  }
}

function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const opened = ({ pingInterval, maxPayload } = {}) =>
  `the server greets: a heartbeat every ${pingInterval / 1000} s, messages of at most ${maxPayload} bytes`;

const subject = (argument) => (typeof argument === "string" ? argument : (argument?.conversation ?? null));
const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;

/** How long the news of a talk took, where its timestamp is a time of this machine's clock. */
function taken({ timestamp }) {
  const ms = typeof timestamp === "number" ? performance.timeOrigin + performance.now() - timestamp : NaN;
  return ms > -5 && ms < 60_000 ? `, ${Math.max(ms, 0).toFixed(1)} ms after the talk` : "";
}

const SENT = {
  join: ({ username, token }) => `as ${username}, ${token ? "with a token" : "without a token"}`,
  talk: ({ conversation, messageID }) => `there is news in ${conversation}: ${JSON.stringify(messageID)}`,
  ask: (argument) => `who listens ${subject(argument) ? `in ${subject(argument)}` : "in each conversation"}?`,
  leave: (argument) => `listen no more to ${subject(argument) ?? "any conversation"}`,
};

const HEARD = {
  listening: ({ conversations = [] }) =>
    `this session listens to ${many(conversations.length, "conversation", "conversations")}`,
  joined: ({ username, conversation }) => `${username} has come to ${conversation}`,
  left: ({ username, conversation }) => `${username} has left ${conversation}`,
  update: ({ username, conversation, messageID, missed, timestamp }) =>
    `${username} has news in ${conversation}: ${JSON.stringify(messageID)}` +
    (missed ? `, one of ${missed}` : taken({ timestamp })),
  people: ({ conversation, inroom, people = [] }) =>
    `${many(inroom, "user listens", "users listen")} in ${conversation}${people.length ? `: ${people.join(", ")}` : ""}`,
  refused: ({ event, code, reason }) => `${event}: ${code}, ${reason}`,
};
