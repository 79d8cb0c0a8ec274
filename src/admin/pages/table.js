/** Tables that sort and filter. The order of the rows is held while the pointer or the focus is in them. */
import { attribute, foreign, list, make, part, share as drawShare, text } from "./dom.js";

const collator = new Intl.Collator(undefined, { numeric: true });

/** Orders two values. Absent ones come last in both directions. */
function compare(a, b, sign) {
  const [none, noneThere] = [a === null || a === undefined, b === null || b === undefined];
  if (none || noneThere) return none - noneThere;
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
}

export class Table {
  #root;
  #columns;
  #key;
  #href;
  #sort;
  #rows = [];
  #overview;
  #order = [];
  #headers = new Map();

  /**
   * `columns` are `{key, label, show, foreign, numeric, share, control}`. `show` makes the text of a cell, `share` the
   * length of a bar, `control` an element. `href` makes the link of a row, for its first cell.
   */
  constructor(root, { columns, key, href, sort }) {
    this.#root = root;
    this.#columns = columns;
    this.#key = (row) => String(key(row));
    this.#href = href;
    this.#sort = { by: sort, sign: this.#first(sort) };
    part(root, "head").append(...columns.map((column) => this.#header(column)));
    part(root, "filter").addEventListener("input", () => this.#arrange());
    const held = () => (part(root, "held").hidden = !this.#held());
    for (const type of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      part(root, "rows").addEventListener(type, () => queueMicrotask(held));
    }
  }

  /** Shows the rows of an overview. */
  fill(rows, overview) {
    [this.#rows, this.#overview] = [rows, overview];
    this.#arrange(this.#held());
  }

  #held() {
    return part(this.#root, "rows").matches(":hover, :focus-within");
  }

  /** Returns the first direction of a column: the largest number, or the first name, is at the top. */
  #first(by) {
    return this.#columns.find(({ key }) => key === by).numeric ? -1 : 1;
  }

  #header({ key, label, numeric, show }) {
    if (!show) return make("th", { scope: "col" }, make("span", { className: "unseen", textContent: label }));
    const button = make("button", { type: "button", textContent: label });
    const header = make("th", { scope: "col", className: numeric ? "numeric" : "" }, button);
    this.#headers.set(key, header);
    button.addEventListener("click", () => {
      const { by, sign } = this.#sort;
      this.#sort = { by: key, sign: by === key ? -sign : this.#first(key) };
      this.#arrange();
    });
    return header;
  }

  #arrange(held = false) {
    const wanted = part(this.#root, "filter").value.trim().toLowerCase();
    const shown = ({ show }, row) => show?.(row, this.#overview) ?? "";
    const fits = (row) => this.#columns.some((column) => shown(column, row).toLowerCase().includes(wanted));
    const rows = this.#rows.filter((row) => !wanted || fits(row));
    const { by, sign } = this.#sort;
    rows.sort((a, b) => compare(a[by], b[by], sign));
    if (held) rows.sort((a, b) => this.#place(a) - this.#place(b));
    this.#order = rows.map(this.#key);
    for (const [key, header] of this.#headers) {
      attribute(header, "aria-sort", key === by ? (sign < 0 ? "descending" : "ascending") : "none");
    }
    const fill = (element, row) => this.#fill(element, row);
    list(part(this.#root, "rows"), rows, this.#key, (row) => this.#row(row), fill);
    part(this.#root, "empty").hidden = rows.length > 0;
    text(part(this.#root, "empty"), wanted && this.#rows.length ? "Nothing fits the filter." : "None.");
    text(part(this.#root, "count"), wanted ? `${rows.length} of ${this.#rows.length}` : String(rows.length));
  }

  #place(row) {
    const place = this.#order.indexOf(this.#key(row));
    return place < 0 ? Infinity : place;
  }

  #row(row) {
    const cells = this.#columns.map((column, index) => {
      const className = column.numeric ? "numeric" : column.foreign ? "foreign" : "";
      const cell = make(index ? "td" : "th", { className });
      if (!index) cell.scope = "row";
      if (!index && this.#href) cell.append(make("a", { href: this.#href(row) }));
      if (column.share) cell.classList.add("barred");
      if (column.control) cell.append(column.control(row));
      return cell;
    });
    const element = make("tr", {}, ...cells);
    if (!this.#href) return element;
    element.classList.add("linked");
    element.addEventListener("click", ({ target }) => {
      // Marking text opens nothing.
      if (!target.closest("a") && getSelection().isCollapsed) element.querySelector("a").click();
    });
    return element;
  }

  #fill({ cells }, row) {
    this.#columns.forEach(({ show, foreign: isForeign, share, bad }, index) => {
      if (!show) return;
      const cell = cells[index];
      const place = index === 0 && this.#href ? cell.firstElementChild : cell;
      if (isForeign) foreign(place, show(row, this.#overview));
      else text(place, show(row, this.#overview));
      if (share) drawShare(cell, share(row));
      if (bad) cell.classList.toggle("bad", bad(row));
    });
  }
}
