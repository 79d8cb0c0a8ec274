//! The floods by name: their actions, the settings of their server, and their numbers of sockets.

use crate::generator::{Flow, Generator};
use crate::{http, socket};

/// One flood.
pub struct Flood {
    pub name: &'static str,
    /// Its action, in a few words.
    pub about: &'static str,
    /// The settings of the server that are not defaults, as `SECTION__KEY` and value.
    pub settings: &'static [(&'static str, &'static str)],
    /// Starts its tasks.
    pub start: fn(&Generator),
}

const DEFAULTS: &[(&str, &str)] = &[];

/// Room for users with ten thousand conversations and short ids.
const MANY_CONVERSATIONS: &[(&str, &str)] =
    &[("MAX__CONVERSATIONS_MAX", "10000"), ("LIMITS__ID_BYTES_MAX", "64"), ("OUTBOX__BYTES_MAX", "8388608")];

const fn flood(name: &'static str, about: &'static str, start: fn(&Generator)) -> Flood {
    Flood { name, about, settings: DEFAULTS, start }
}

pub const FLOODS: &[Flood] = &[
    flood("join-1", "joins with a token by 1 socket", |g| socket::joins(g, 1)),
    flood("join-2", "joins with a token by 2 sockets", |g| socket::joins(g, 2)),
    flood("join-6", "joins with a token by 6 sockets", |g| socket::joins(g, 6)),
    flood("refused-join-1", "joins without a token by 1 socket", |g| socket::refused_joins(g, 1)),
    flood("refused-join-2", "joins without a token by 2 sockets", |g| socket::refused_joins(g, 2)),
    flood("refused-join-6", "joins without a token by 6 sockets", |g| socket::refused_joins(g, 6)),
    flood("talk", "talks by a member of a neighbours' conversation", socket::talks),
    flood("get-unread", "GETs without reading, 50 connections", |g| http::pipeline(g, "GET", "/x", 50, Flow::Unread)),
    flood("get-read", "GETs, 2 connections", |g| http::pipeline(g, "GET", "/x", 2, Flow::Read)),
    flood("post-unread", "POSTs without reading, 50 connections", |g| {
        http::pipeline(g, "POST", http::ENDPOINT, 50, Flow::Unread)
    }),
    flood("post-read", "POSTs, 2 connections", |g| http::pipeline(g, "POST", http::ENDPOINT, 2, Flow::Read)),
    flood("head-unread", "HEADs without reading, 50 connections", |g| http::pipeline(g, "HEAD", "/", 50, Flow::Unread)),
    flood("head-read", "HEADs, 2 connections", |g| http::pipeline(g, "HEAD", "/", 2, Flow::Read)),
    flood("put-unread", "PUTs without reading, 50 connections", |g| {
        http::pipeline(g, "PUT", http::ENDPOINT, 50, Flow::Unread)
    }),
    flood("put-read", "PUTs, 2 connections", |g| http::pipeline(g, "PUT", http::ENDPOINT, 2, Flow::Read)),
    flood("options-unread", "OPTIONS without reading, 50 connections", |g| {
        http::pipeline(g, "OPTIONS", http::ENDPOINT, 50, Flow::Unread)
    }),
    flood("options-read", "OPTIONS, 2 connections", |g| http::pipeline(g, "OPTIONS", http::ENDPOINT, 2, Flow::Read)),
    flood("behind-poll", "GETs behind a poll that waits, 50 connections", |g| http::behind_a_poll(g, 50)),
    flood("handshake-poll-eio4", "handshakes of Engine.IO 4 by 1 connection", |g| {
        http::pipeline(g, "GET", http::ENDPOINT, 1, Flow::Read)
    }),
    flood("handshake-poll-eio3", "handshakes of Engine.IO 3 by 1 connection", |g| {
        http::pipeline(g, "GET", "/socket.io/?EIO=3&transport=polling&b64=1", 1, Flow::Read)
    }),
    flood("handshake-poll-0.9", "handshakes of 0.9 by 1 connection", |g| {
        http::pipeline(g, "GET", "/socket.io/1/", 1, Flow::Read)
    }),
    flood("handshake-ws-eio4", "WebSockets of Engine.IO 4, one after the other", |g| {
        http::websockets(g, "/socket.io/?EIO=4&transport=websocket")
    }),
    flood("handshake-ws-eio3", "WebSockets of Engine.IO 3, one after the other", |g| {
        http::websockets(g, "/socket.io/?EIO=3&transport=websocket")
    }),
    flood("handshake-ws-0.9", "WebSockets of 0.9, one after the other", http::websockets_of_0_9),
    flood("half-heads-1", "200 half heads", |g| http::half_heads(g, b"")),
    flood("half-heads-2", "200 half heads behind a whole request", |g| {
        http::half_heads(g, b"GET /favicon.svg HTTP/1.1\r\nHost: x\r\n\r\n")
    }),
    flood("connections", "15,000 WebSockets at once", |g| socket::connections(g, 1)),
    flood("connections-spread", "15,000 WebSockets at once from 250 addresses", |g| socket::connections(g, 250)),
    flood("connections-silent", "15,000 connections without a byte", http::silent_connections),
    flood("pings", "pings by 20 sockets", |g| socket::frames(g, 9, b"")),
    flood("pongs", "pongs by 20 sockets", |g| socket::frames(g, 10, b"")),
    flood("empty-frames", "empty parts of a message by 20 sockets", socket::empty_frames),
    flood("connects", "CONNECTs to unknown namespaces by 20 sockets", |g| socket::frames(g, 1, b"40/nope,")),
    flood("unknown-events", "events that there are not by 20 sockets", |g| {
        socket::frames(g, 1, br#"42/max,["nothing"]"#)
    }),
    Flood {
        settings: MANY_CONVERSATIONS,
        ..flood("leaves", "10 sessions join and leave 10,000 conversations", socket::leaves)
    },
    flood("post-packets", "POSTs of 1 MB of pongs, 2 sessions", |g| http::large_posts(g, "3")),
    flood("post-events", "POSTs of 1 MB of leaves, 2 sessions", |g| http::large_posts(g, r#"42/max,["leave","x"]"#)),
    flood("deaf-members", "200 members who read nothing of what 1 says", socket::deaf_members),
    flood("deaf-askers", "50 sockets ask and read nothing", socket::deaf_askers),
];
