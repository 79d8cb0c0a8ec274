//! Scripts of raw requests: a short form for heads, and ways to play scripts against a server.

use std::net::SocketAddr;

use super::client::{new_sid, target};
use super::http::{Http, Response};
use super::script::Peer;
use super::within;

const UPGRADE: &str = "Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13";

/// A key of a WebSocket handshake.
pub const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// Expands `[GET /x|Connection: close]` to the head of such a request. `{UPGRADE}` and `{KEY}` are the header lines of
/// a WebSocket handshake.
pub fn script(text: &str) -> String {
    let text = text.replace("{UPGRADE}", UPGRADE).replace("{KEY}", KEY);
    let mut parts = text.split('[');
    let mut script = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (head, rest) = part.split_once(']').unwrap();
        let (request, lines) = head.split_once('|').unwrap_or((head, ""));
        script += &format!(r"{request} HTTP/1.1\r\nHost: x\r\n");
        for line in lines.split('|').filter(|line| !line.is_empty()) {
            script += &format!(r"{line}\r\n");
        }
        script += r"\r\n";
        script += rest;
    }
    script
}

/// Starts a client that plays a script.
pub fn client(addr: SocketAddr, text: &str) -> Peer {
    Peer::connect(addr, &script(text))
}

/// Returns the answer to a WebSocket request with these header lines.
pub async fn upgrade(addr: SocketAddr, path: &str, headers: &[&str]) -> Response {
    let mut http = Http::connect(addr).await;
    let request =
        format!("GET {path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", headers.join("\r\n"));
    http.write(request.as_bytes()).await.unwrap();
    within("an answer to a handshake", http.response()).await.unwrap()
}

/// Plays a script against the server to its end. Returns all that the client has read.
pub async fn play(addr: SocketAddr, text: &str) -> String {
    let end = client(addr, text).end().await;
    String::from_utf8_lossy(&end.unwrap_or_else(|fault| panic!("{fault}\n{text}"))).into_owned()
}

/// Plays a script in a new polling session; `{SESSION}` is the target of its polls and POSTs.
pub async fn play_in_session(addr: SocketAddr, text: &str) -> String {
    play(addr, &text.replace("{SESSION}", &target(&new_sid(addr).await))).await
}

/// Returns the statuses of the answers in `read`.
pub fn statuses(read: &str) -> Vec<u16> {
    let lines = read.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}
