/** The drawer at the side. It shows one session, conversation or user: the one that the URL's fragment names. */
import { $, confirmed, empty, foreign, list, make, part, text, visible } from "./dom.js";
import { value, words } from "./format.js";

const REFRESH_MS = 2000;
/** The items of a list that are shown. */
const LISTED = 200;
/** The drawer is this wide, so that it covers a narrower window. */
const covers = matchMedia("(max-width: 28rem)");

export const href = (kind, id) => `#${kind}/${encodeURIComponent(id)}`;

function route() {
  const [kind, id] = location.hash.slice(1).split("/");
  try {
    return { kind, id: decodeURIComponent(id ?? "") };
  } catch {
    return {};
  }
}

/** The path in the API of each kind. A closed session has none of its own: it is found in the list. */
const path = {
  closed: () => "closed",
  session: (id) => `sessions/${encodeURIComponent(id)}`,
  conversation: (id) => `conversations/${encodeURIComponent(id)}`,
  user: (id) => `users/${encodeURIComponent(id)}/sessions`,
};

export class Drawer {
  #live;
  #element = $("drawer");
  #shown = {};
  /** Whether the drawer shows an error of its last question. */
  #trouble = false;
  #opener;
  #timer;

  constructor(live) {
    this.#live = live;
    addEventListener("hashchange", () => this.#follow());
    covers.addEventListener("change", () => this.#cover());
    part(this.#element, "close").addEventListener("click", () => this.#leave());
    this.#element.addEventListener("keydown", ({ key }) => key === "Escape" && this.#leave());
    this.#follow();
  }

  /** Asks the server again. */
  refresh() {
    clearTimeout(this.#timer);
    if (this.#shown.kind) this.#load();
  }

  #leave() {
    history.pushState(null, "", location.pathname + location.search);
    this.#follow();
  }

  #follow() {
    const { kind, id } = route();
    const known = Object.hasOwn(path, kind);
    const opens = this.#element.hidden;
    if (known && opens) this.#opener = document.activeElement;
    this.#shown = known ? { kind, id } : {};
    this.#element.hidden = !known;
    this.#cover();
    if (!known) {
      clearTimeout(this.#timer);
      if (!opens) this.#opener?.focus();
      return;
    }
    for (const name of ["facts", "actions", "more"]) empty(part(this.#element, name));
    part(this.#element, "kind").textContent = kind === "closed" ? "closed session" : kind;
    foreign(part(this.#element, "title"), id);
    this.#say("");
    part(this.#element, "title").focus();
    this.refresh();
  }

  /** Takes what the drawer covers out of reach of the keyboard. */
  #cover() {
    const isCovered = !this.#element.hidden && covers.matches;
    for (const behind of document.querySelectorAll("body > header, body > main")) behind.inert = isCovered;
  }

  async #load() {
    const shown = this.#shown;
    if (document.hidden) return this.#later();
    try {
      const content = await this.#ask(shown);
      if (shown !== this.#shown) return;
      this.#draw(shown, content);
      this.#element.dataset.fresh = "yes";
      if (this.#trouble) this.#say("");
    } catch (error) {
      if (shown !== this.#shown) return;
      this.#element.dataset.fresh = "no";
      this.#say(error.status === 404 ? "It is not there any more." : `It cannot be read: ${error.message}`, true);
    }
    this.#later();
  }

  async #ask({ kind, id }) {
    const answer = await this.#live.call("GET", path[kind](id));
    if (kind !== "closed") return answer;
    const found = answer.sessions.find((row) => String(row.id) === id);
    if (!found) throw Object.assign(new Error(), { status: 404 });
    return found;
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  #say(words, trouble = false) {
    this.#trouble = trouble;
    text(part(this.#element, "said"), words);
  }

  #draw({ kind, id }, content) {
    const facts = kind === "user" ? { sessions: content.sessions } : content;
    describe(part(this.#element, "facts"), Object.entries(facts));
    const user = kind === "user" ? id : userOf(content);
    const known = typeof user === "string" && kind !== "conversation";
    const one = ["Close this session", `${path.session(id)}/close`, `Close session ${visible(id)}?`];
    const all = known && [
      "Close all of this user",
      `users/${encodeURIComponent(user)}/close`,
      `Close all sessions of \u2068${visible(user)}\u2069?`,
    ];
    const actions = [kind === "session" && one, all].filter(Boolean);
    list(part(this.#element, "actions"), actions, 1, (action) => this.#button(...action));
    list(part(this.#element, "more"), known && kind !== "user" ? [user] : [], String, (name) =>
      make("a", { href: href("user", name), textContent: "All sessions of this user" }),
    );
  }

  #button(label, call, title) {
    const element = make("button", { type: "button", textContent: label });
    element.addEventListener("click", () => this.#act(label, call, title));
    return element;
  }

  async #act(action, call, title) {
    const explained = "The connection is closed. Most clients connect again by themselves, and get a new session.";
    if (!(await confirmed({ title, words: explained, action }))) return;
    try {
      const { closed } = (await this.#live.call("POST", call, {})) ?? {};
      this.#say(typeof closed === "number" ? `Closed: ${closed}.` : "Closed.");
    } catch (error) {
      this.#say(`It was not done: ${error.message}`);
    }
    this.refresh();
  }
}

const userOf = ({ username, user }) => username ?? user;
const isObject = (content) => content !== null && typeof content === "object";

/** Shows all fields of an answer, those that this page does not know included. */
function describe(parent, entries) {
  const key = ([name, content]) => `${name} ${isObject(content)} ${Array.isArray(content)}`;
  const create = ([name]) => make("div", {}, make("dt", { textContent: words(name) }), make("dd"));
  list(parent, entries, key, create, (element, [name, content]) => fill(element.lastElementChild, name, content));
}

function fill(place, name, content) {
  if (Array.isArray(content)) enumerate(place, name, content);
  else if (isObject(content)) {
    if (!place.firstElementChild) place.append(make("dl", { className: "facts" }));
    describe(place.firstElementChild, Object.entries(content));
  } else foreign(place, value(name, content));
}

/** The names of lists whose items have a drawer, and the kind of it. */
const LINKED = {
  conversations: "conversation",
  sessions: "session",
  listening: "session",
  people: "user",
  users: "user",
};

function enumerate(place, name, items) {
  if (!place.firstElementChild) place.append(make("ul"), make("p"));
  const target = (item) => (isObject(item) ? (item.id ?? item.session) : item);
  const label = (item) =>
    isObject(item) ? [target(item), userOf(item), item.address].filter(Boolean).join(" · ") : String(item);
  const create = (item) => {
    const link = LINKED[name] && make("a", { href: href(LINKED[name], target(item)) });
    return make("li", {}, foreign(link || make("span"), label(item)));
  };
  list(place.firstElementChild, items.slice(0, LISTED), label, create);
  const more = items.length - LISTED;
  text(place.lastElementChild, items.length === 0 ? "none" : more > 0 ? `and ${more} more` : "");
}
