// A server of socket.io that speaks maxtalk's protocol, to be measured beside it: `PORT=3000 MEMBERS=10 node peer.mjs`.
// The user u<n> is in the conversation c<n / MEMBERS>, as in maxtalk's demo. It asks no back end and bounds nothing.

import { Server } from "socket.io";

const members = Number(process.env.MEMBERS ?? 10);
const io = new Server(Number(process.env.PORT ?? 3000), { serveClient: false });

io.of("/max").on("connection", (socket) => {
  let name;
  socket.on("join", async (join) => {
    const username = String(join?.username ?? join).toLowerCase();
    const number = /^u(\d+)$/.exec(username)?.[1];
    if (number === undefined) return socket.emit("refused", { event: "join", code: "unknown_user", reason: "no u<n>" });
    name = username;
    const conversation = `c${Math.floor(number / members)}`;
    await socket.join(conversation);
    socket.to(conversation).emit("joined", { conversation, username });
    socket.emit("listening", { conversations: [conversation] });
  });
  socket.on("leave", (_, ack) => {
    for (const room of socket.rooms) if (room !== socket.id) socket.leave(room);
    socket.emit("listening", { conversations: [] });
    ack?.({ ok: true });
  });
  socket.on("talk", ({ conversation, timestamp, messageID }, ack) => {
    if (!socket.rooms.has(conversation)) return ack?.({ ok: false, code: "forbidden" });
    socket.to(conversation).emit("update", { username: name, conversation, timestamp, messageID });
    ack?.({ ok: true });
  });
});
