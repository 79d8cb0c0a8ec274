/** Settings that change while the server runs: their values, and the confirmation and the receipt of a change. */
import { $, cloned, make, part, text } from "./dom.js";
import { exact } from "./format.js";
import { Refused } from "./live.js";

const said = (value) => (typeof value === "number" ? exact(value) : String(value));

/** Returns the line for the configuration file. */
function inFile(key, value) {
  const cut = key.lastIndexOf(".");
  return `[${key.slice(0, cut)}]\n${key.slice(cut + 1)} = ${JSON.stringify(value)}`;
}

/** Reads a value that the server writes in TOML. Numbers, texts and lists look the same in JSON. */
function read(toml) {
  try {
    return JSON.parse(toml);
  } catch {
    return toml;
  }
}

/** All settings of the server, by key. */
export class Settings extends EventTarget {
  all = new Map();
  #live;
  #asking = false;

  constructor(live) {
    super();
    this.#live = live;
  }

  /** Asks the server for all settings. After a failure the old ones stay, and the next change asks again. */
  async refresh() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const { settings } = await this.#live.call("GET", "settings");
      this.all = new Map(settings.map((setting) => [setting.key, { ...setting, value: read(setting.value) }]));
      this.dispatchEvent(new Event("change"));
    } catch {
      // The page shows the state of the connection elsewhere.
    } finally {
      this.#asking = false;
    }
  }

  async set(key, value) {
    const { to_keep: file, lasts } = await this.#live.call("PATCH", "settings", { [key]: value });
    this.refresh();
    return { file: file.trimEnd(), lasts };
  }
}

/**
 * A change that waits for its confirmation, and then its receipt. `propose` shows it, and may be called again with
 * another value. Events: `set` when the server has done it, with the value; `end` when it is closed, done or not.
 */
export class Proposal extends EventTarget {
  element = cloned("proposal");
  #settings;
  #change;

  constructor(settings) {
    super();
    this.#settings = settings;
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(this.#change.to);
    });
    this.#on("cancel", () => this.end());
    this.#on("done", () => this.end());
    this.#on("undo", () => this.#send(this.#change.from));
    this.#on("copy", async () => {
      await navigator.clipboard.writeText(part(this.element, "file").textContent);
      text(part(this.element, "copy"), "Copied");
    });
    part(this.element, "copy").hidden = !navigator.clipboard;
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.end();
    });
  }

  get pending() {
    return !this.element.hidden && this.element.dataset.stage !== "done";
  }

  propose({ key, from, to, note = "" }) {
    this.#change = { key, from, to };
    this.#show("proposed", { key, from, to, file: inFile(key, to), lasts: "until the next start", note });
    text(part(this.element, "send"), `Set to ${said(to)}`);
  }

  /** Moves the focus to the button that sends the change. */
  focus() {
    part(this.element, "send").focus();
  }

  end() {
    const hadFocus = this.element.matches(":focus-within");
    this.element.hidden = true;
    this.dispatchEvent(new CustomEvent("end", { detail: { hadFocus } }));
  }

  #on(name, act) {
    part(this.element, name).addEventListener("click", act);
  }

  async #send(to) {
    const { key, from } = this.#change;
    this.element.dataset.stage = "sending";
    try {
      const done = await this.#settings.set(key, to);
      // From now on, "Undo" goes back to the value before.
      this.#change = { key, from, to };
      const note = "Set. It holds from the next message on.";
      this.#show("done", { ...this.#change, ...done, note });
      part(this.element, "done").focus();
      this.dispatchEvent(new CustomEvent("set", { detail: to }));
    } catch (error) {
      this.#refused(error instanceof Refused ? error.message : `The server has not answered (${error.message}).`);
    }
  }

  #refused(reason) {
    this.element.dataset.stage = "proposed";
    part(this.element, "trouble").hidden = false;
    text(part(this.element, "trouble"), reason);
  }

  #show(stage, { key, from, to, file, lasts, note }) {
    Object.assign(this.element.dataset, { stage });
    this.element.hidden = false;
    part(this.element, "trouble").hidden = true;
    text(part(this.element, "copy"), "Copy");
    const words = {
      key,
      from: said(from),
      to: said(to),
      file,
      lasts: `Lasts ${lasts}. To keep it, write`,
      note,
    };
    for (const [name, content] of Object.entries(words)) text(part(this.element, name), content);
  }
}

/** The dialog that changes a setting. */
export class Changer {
  #dialog = $("changer");
  #settings;
  #proposal;
  #setting;

  constructor(settings) {
    this.#settings = settings;
    this.#proposal = new Proposal(settings);
    part(this.#dialog, "place").append(this.#proposal.element);
    this.#proposal.addEventListener("end", () => this.#dialog.close());
    const input = part(this.#dialog, "value");
    input.addEventListener("input", () => this.#propose(input.value.trim()));
    part(this.#dialog, "form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#proposal.pending) this.#proposal.focus();
    });
  }

  open(key) {
    const setting = (this.#setting = this.#settings.all.get(key));
    text(part(this.#dialog, "key"), setting.key);
    text(part(this.#dialog, "allowed"), setting.allowed ? `Allowed: ${[setting.allowed].flat().join(", ")}` : "");
    part(this.#dialog, "value").value = setting.value;
    this.#proposal.element.hidden = true;
    this.#dialog.showModal();
    part(this.#dialog, "value").select();
  }

  /** Proposes the typed value, in the type of the present one. Only the server judges it. */
  #propose(typed) {
    const { key, value: from } = this.#setting;
    const isNumber = typeof from === "number" && typed !== "" && Number.isFinite(Number(typed));
    const to = isNumber ? Number(typed) : typeof from === "boolean" ? typed === "true" : typed;
    if (to === from || typed === "") this.#proposal.element.hidden = true;
    else this.#proposal.propose({ key, from, to });
  }
}

/** Returns a button that opens the dialog for a setting. An empty element if the setting cannot be changed now. */
export function changeButton({ key, live }, changer) {
  if (!live) return make("span");
  const button = make("button", { type: "button", className: "quiet-button", textContent: "Change" });
  button.setAttribute("aria-label", `Change ${key}`);
  button.addEventListener("click", () => changer.open(key));
  return button;
}
