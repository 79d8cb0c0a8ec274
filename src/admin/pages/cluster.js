/** The cluster: each Redis, and each other node. A server that is alone has neither. */
import { $, foreign, list, make, text } from "./dom.js";
import { ABSENT, brief, count, duration, exact, ms } from "./format.js";

/** Returns a function that makes a row: its first cell is its name, the others have these classes. */
const rowOf = (classes) => () => {
  const name = make("th", { scope: "row", className: "foreign" });
  return make("tr", {}, name, ...classes.map((className) => make("td", { className })));
};

const newServer = rowOf(["", "numeric", "numeric", "numeric"]);
const newPeer = rowOf(["", "foreign", "numeric", "numeric"]);

function fillServer({ cells }, server) {
  const { url, up, down_ms: down, reason, lag_ms: lag, subscribed, wanted, waiting } = server;
  foreign(cells[0], url ?? ABSENT);
  foreign(cells[1], up ? "up" : `down for ${duration(down)}: ${reason ?? ABSENT}`);
  cells[1].classList.toggle("bad", !up);
  text(cells[2], ms(lag));
  text(cells[3], `${exact(subscribed)} of ${exact(wanted)}`);
  text(cells[4], count(waiting));
}

function fillPeer({ cells }, { node, name, version, sessions, conversations, heard_ms: heard, silent }) {
  foreign(cells[0], name || node);
  text(cells[1], `${silent ? "silent, " : ""}${brief(heard)} ago`);
  cells[1].classList.toggle("silent", silent === true);
  foreign(cells[2], version || ABSENT);
  text(cells[3], count(sessions));
  text(cells[4], count(conversations));
}

export function drawCluster({ cluster }) {
  $("cluster").hidden = !cluster;
  if (!cluster) return;
  const { node, name, servers = [], peers = [] } = cluster;
  foreign($("cluster-node"), `this node is ${name || node || ABSENT}`);
  // Two places of the list may have the same address.
  const placed = servers.map((server, place) => ({ place, ...server }));
  list($("cluster-servers"), placed, "place", newServer, fillServer);
  const named = [...peers].sort((a, b) => String(a.name).localeCompare(String(b.name)));
  list($("cluster-peers"), named, "node", newPeer, fillPeer);
  $("no-peers").hidden = peers.length > 0;
}
