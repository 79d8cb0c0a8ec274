/** Helpers that write into the document. All text is written as text nodes, never as markup. */

export const $ = (id) => document.getElementById(id);

/**
 * Sets the text of an element without children, if it changed. A screen reader does not read an untouched node again.
 * The text node is kept, because a new one costs a layout box.
 */
export function text(element, content) {
  const node = element.firstChild;
  if (!node) element.append(content);
  else if (node.data !== content) node.data = content;
}

/** Sets an attribute if it changed. Setting the same value again costs a recalculation of styles. */
export function attribute(element, name, content) {
  if (element.getAttribute(name) !== String(content)) element.setAttribute(name, content);
}

/** Sets the length of a bar, as a part of 1. */
export function share(element, part) {
  const shown = String(Math.round(200 * Math.min(1, Math.max(0, part || 0))) / 200);
  if (element.style.getPropertyValue("--share") !== shown) element.style.setProperty("--share", shown);
}

/** Makes an element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, content] of Object.entries(attributes)) element.setAttribute(name, content);
  element.append(...children);
  return element;
}

export const cloned = (template) => $(template).content.firstElementChild.cloneNode(true);

/** Returns the element in `root` with this name in `data-part`. */
export const part = (root, name) => root.querySelector(`[data-part="${name}"]`);

/** Control characters and characters that reorder text. With them a name can look like another name. */
const UNSEEN = /[\p{Cc}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;
export const visible = (content) =>
  content.replace(UNSEEN, (unseen) => `[U+${unseen.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);

/** Shows text that a stranger chose: its direction is isolated, and the title has all of it if it is cut off. */
export function foreign(element, content) {
  const shown = visible(String(content));
  element.dir = "auto";
  text(element, shown);
  if (element.title !== shown) element.title = shown;
  return element;
}

const children = new WeakMap();

/**
 * Gives `parent` one child per item. The child of a key is kept, so that it does not lose the focus. `key` is the name
 * of a property, or a function of an item.
 */
export function list(parent, items, key, create, fill) {
  const known = children.get(parent) ?? new Map();
  const keyOf = typeof key === "function" ? key : (item) => item[key];
  const wanted = new Map(items.map((item) => [String(keyOf(item)), item]));
  for (const [name, element] of known) if (!wanted.has(name)) element.remove();
  let index = 0;
  for (const [name, item] of wanted) {
    const element = known.get(name) ?? create(item);
    wanted.set(name, element);
    fill?.(element, item);
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
    index += 1;
  }
  children.set(parent, wanted);
}

/** Removes all children that `list` made. */
export function empty(parent) {
  children.delete(parent);
  parent.replaceChildren();
}

/** Shows a figure with its unit in smaller letters. `parts` is `[figure, unit]`. */
export function figure(element, [number, unit]) {
  if (!element.firstElementChild) element.append(make("span"), make("small"));
  text(element.firstElementChild, number);
  text(element.lastElementChild, unit);
}

/** Asks in a dialog, and returns whether the answer is yes. */
export function confirmed({ title, words, action }) {
  const dialog = $("confirm");
  text(part(dialog, "title"), title);
  text(part(dialog, "words"), words);
  text(part(dialog, "action"), action);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
