/** The tables of the page: slow sessions, hot conversations, closed sessions, settings. */
import { $, list } from "./dom.js";
import { href } from "./drawer.js";
import { ABSENT, brief, bytes, count, exact, ms } from "./format.js";
import { changeButton } from "./limits.js";
import { Table } from "./table.js";

const number = (key, label, form = count) => ({ key, label, numeric: true, show: (row) => form(row[key]) });
const name = (key, label, show = (row) => row[key] ?? ABSENT) => ({ key, label, foreign: true, show });
const user = name("username", "user", ({ username, id }) => username ?? `session ${id}`);
const client = name(
  "generation",
  "client",
  ({ generation, transport }) => `${generation ?? ABSENT} ${transport ?? ""}`,
);
const age = number("age_ms", "age", brief);
const folded = number("folded", "folded");

/** Returns how full the outbox of a session is, as a part of 1: by bytes or by messages. */
const fullness = (settings) => (row) => {
  const limit = (key) => Number(settings.all.get(key)?.value);
  const parts = [row.waiting_bytes / limit("outbox.bytes_max"), row.waiting_messages / limit("outbox.messages_max")];
  return Math.max(0, ...parts.filter(Number.isFinite));
};

/** Makes the tables of an overview, by the name of their rows in it. */
export const newTables = (settings) => ({
  sessions: new Table($("sessions"), {
    key: ({ id }) => id,
    href: ({ id }) => href("session", id),
    sort: "waiting_bytes",
    columns: [
      user,
      name("address", "address"),
      client,
      age,
      { ...number("waiting_bytes", "waiting", bytes), share: fullness(settings) },
      number("waiting_messages", "messages"),
      number("round_trip_ms", "round trip", ms),
      folded,
    ],
  }),
  conversations: new Table($("conversations"), {
    key: ({ id }) => id,
    href: ({ id }) => href("conversation", id),
    sort: "deliveries_per_second",
    columns: [
      name("id", "conversation"),
      number("members", "members"),
      number("talks_per_second", "talks / s"),
      number("deliveries_per_second", "deliveries / s"),
    ],
  }),
  closed: new Table($("closed"), {
    key: ({ id, closed }) => `${id} ${closed}`,
    href: ({ id }) => href("closed", id),
    sort: "closed",
    columns: [
      user,
      { ...name("reason", "reason"), bad: ({ reason }) => reason === "slow" },
      client,
      age,
      folded,
      { ...number("closed", "ago"), show: ({ closed }, { at_ms: now }) => brief(now - Date.parse(closed)) },
    ],
  }),
});

export function newSettingsTable(settings, changer) {
  const table = new Table($("settings"), {
    key: ({ key }) => key,
    sort: "key",
    columns: [
      name("key", "setting"),
      name("value", "value", ({ value }) => (typeof value === "number" ? exact(value) : String(value))),
      { key: "change", label: "change", control: (row) => changeButton(row, changer) },
      name("source", "source"),
      name("allowed", "allowed", ({ allowed }) => [allowed ?? ABSENT].flat().join(", ")),
    ],
  });
  const draw = () => {
    const all = [...settings.all.values()];
    table.fill($("only-live").checked ? all.filter(({ live }) => live) : all);
    const inflight = settings.all.get("max.inflight_max");
    list($("change-inflight"), inflight ? [inflight] : [], "key", (row) => changeButton(row, changer));
  };
  settings.addEventListener("change", draw);
  $("only-live").addEventListener("change", draw);
}
