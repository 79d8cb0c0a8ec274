/**
 * The dashboard of an operator. Each second the server sends an overview, and the page shows it. This file draws the
 * state of the server and of the connection, and gives the overview to the other parts.
 */
import { drawCluster } from "./cluster.js";
import { $, confirmed, list, text } from "./dom.js";
import { Drawer } from "./drawer.js";
import { ABSENT, clock, duration, exact } from "./format.js";
import { drawGlance, drawGlanceMoment } from "./glance.js";
import { History, LENGTH, seriesOf } from "./history.js";
import { Changer, Settings } from "./limits.js";
import { newSettingsTable, newTables } from "./lists.js";
import { Live, renewToken } from "./live.js";
import { MailboxPanel } from "./mailbox.js";
import { Cursor } from "./plot.js";
import { drawMax, drawProcess, drawWorkers } from "./system.js";
import { drawWarnings } from "./warnings.js";

const history = new History();
const live = new Live();
const settings = new Settings(live);
const tables = newTables(settings);
const drawer = new Drawer(live);
const cursor = new Cursor($("figures"));
newSettingsTable(settings, new Changer(settings));

/** The newest overview. */
let overview;
/** The version of the server when this page was loaded, and the time at which the present server began. */
let version;
let began;

/* Mailboxes */

const panels = new Map();
let limits = "";

function newPanel({ actor }) {
  panels.set(actor, new MailboxPanel(actor, settings));
  return panels.get(actor).element;
}

function drawMailboxes({ mailboxes = [] }) {
  list($("mailboxes"), mailboxes, "actor", newPanel);
  for (const box of mailboxes) panels.get(box.actor).draw(box, history, cursor.back);
  const now = mailboxes.map(({ setting, capacity, source }) => `${setting}=${capacity} ${source}`).join();
  if (now !== limits && limits) settings.refresh();
  limits = now;
}

/* The tables */

let frames = 0;

/** Draws the tables for every second overview: they are the most expensive part of the page. */
function drawTables() {
  frames += 1;
  if (frames % 2) for (const [name, table] of Object.entries(tables)) table.fill(overview[name] ?? [], overview);
}

/* The state of the server */

function drawStatus({ status = {}, drain }) {
  const { build, pid, uptime_ms: uptime, stage, workers } = status;
  const facts = [build, pid && `pid ${pid}`, workers && `${workers} workers`, `up ${duration(uptime)}`];
  text($("about"), [`maxtalk ${status.version ?? ABSENT}`, ...facts.filter(Boolean)].join(" · "));
  text($("stage"), stage ?? ABSENT);
  $("stage").dataset.stage = stage;
  $("drain").disabled = stage === "draining";
  $("reload").hidden = status.version === version;
  text($("reload-words"), `The server is now maxtalk ${status.version}; this page is of ${version}.`);
  $("draining").hidden = !drain;
  if (!drain) return;
  const { sessions, left, due_in_ms: due } = drain;
  $("drain-bar").value = sessions > 0 ? (sessions - left) / sessions : 0;
  text($("drain-words"), `Draining: ${exact(left)} of ${exact(sessions)} sessions are left, due in ${duration(due)}.`);
}

/* The state of the connection */

const STATES = {
  connecting: "Connecting",
  live: "Live",
  stalled: "No figures",
  offline: "No connection",
  key: "Key needed",
};

function trouble({ state, heardAt, retryAt }) {
  const old = heardAt === undefined ? "" : ` The figures are ${duration(performance.now() - heardAt)} old.`;
  if (state === "stalled") return `The server is overloaded: it has sent no figures for 3 s.${old}`;
  if (state !== "offline") return "";
  const gone =
    overview?.status?.stage === "draining" ? "The server was draining and has gone." : "The server does not answer.";
  const wait = Math.ceil((retryAt - performance.now()) / 1000);
  return `${gone}${old} ${wait > 0 ? `Next try in ${wait} s.` : "Trying now."}`;
}

function drawState() {
  const { state, heardAt, keyRefused } = live;
  text($("state"), STATES[state]);
  document.body.dataset.state = state;
  document.body.classList.toggle("old", state !== "live" && heardAt !== undefined);
  const words = trouble(live);
  $("trouble").hidden = words === "";
  text($("trouble-words"), words);
  $("retry").hidden = state !== "offline";
  $("key-refused").hidden = !keyRefused;
  if (state === "key" && !$("key").open) $("key").showModal();
  if (state !== "key" && $("key").open) $("key").close();
  drawTitle();
}

function drawTitle() {
  const warnings = overview?.warnings?.length;
  const mark = live.state !== "live" ? `${STATES[live.state]}: ` : warnings ? `(${warnings}) ` : "";
  document.title = `${mark}maxtalk ${location.host}`;
}

/* One frame a second */

function drawMoment() {
  const { back } = cursor;
  const at = `${clock((history.last - back) * history.stepMs)}, ${duration(back * history.stepMs)} ago`;
  text($("moment"), back ? at : `Plots: the last ${duration(LENGTH * history.stepMs)}`);
  drawGlanceMoment(history, back);
  for (const { actor } of overview.mailboxes ?? []) panels.get(actor)?.drawMoment(history, back);
}

const PARTS = [
  ...[drawStatus, drawWarnings, drawGlance, drawMailboxes, drawWorkers, drawProcess, drawMax],
  ...[drawCluster, drawTables],
];
let scheduled;

/** Draws before the next repaint. A hidden page is not drawn. */
function schedule() {
  if (!overview || document.hidden || scheduled) return;
  scheduled = requestAnimationFrame(() => {
    scheduled = undefined;
    for (const drawPart of [...PARTS, drawMoment, drawTitle]) draw(drawPart);
  });
}

/** Draws one part. If a server of another version breaks it, the others are drawn all the same. */
function draw(drawPart) {
  try {
    drawPart(overview, history);
  } catch (error) {
    console.error(error);
  }
}

function take(next) {
  overview = next;
  const status = next.status ?? {};
  version ??= status.version;
  if (began !== undefined && began !== status.began) renewToken().catch(console.error);
  began = status.began;
  history.add(next.at_ms ?? Date.now(), seriesOf(next));
  schedule();
}

live.addEventListener("history", ({ detail }) => history.replace(detail));
live.addEventListener("overview", ({ detail }) => take(detail));
live.addEventListener("state", () => {
  drawState();
  if (live.state !== "live") return;
  settings.refresh();
  drawer.refresh();
});
cursor.addEventListener("move", () => overview && drawMoment());
document.addEventListener("visibilitychange", schedule);
setInterval(() => live.state !== "live" && !document.hidden && drawState(), 1000);

/* Buttons */

$("retry").addEventListener("click", () => live.connect());
$("reload")
  .querySelector("button")
  .addEventListener("click", () => location.reload());
$("failed")
  .querySelector("button")
  .addEventListener("click", () => ($("failed").hidden = true));
$("key").addEventListener("cancel", (event) => event.preventDefault());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  live.unlock($("key-input").value);
  $("key-input").value = "";
});
$("drain").addEventListener("click", async () => {
  const sessions = exact(overview?.status?.sessions);
  const words = `Nothing new is accepted, ${sessions} sessions are closed, and the process ends. There is no way back.`;
  if (!(await confirmed({ title: "Drain this server?", words, action: "Drain" }))) return;
  await live.call("POST", "drain", {}).catch(({ message }) => {
    text($("failed-words"), `The server does not drain: ${message}`);
    $("failed").hidden = false;
  });
});

/* Light and dark */

const THEMES = ["auto", "light", "dark"];
const STORED = "maxtalk-theme";

function wear(theme) {
  document.documentElement.dataset.theme = theme;
  text($("theme"), `Theme: ${theme}`);
}

wear(THEMES.find((theme) => theme === localStorage.getItem(STORED)) ?? "auto");
$("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem(STORED, next);
  wear(next);
});

text($("where"), location.host);
drawState();
live.connect();
