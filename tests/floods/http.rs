//! Floods of HTTP: pipelined requests, handshakes, half heads, large POSTs.

use std::io;

use tokio::time::{Duration, sleep};

use crate::generator::{Flow, Generator};
use crate::wire::{Line, many, request, upgrade};

/// A polling handshake of Engine.IO 4.
pub const ENDPOINT: &str = "/socket.io/?EIO=4&transport=polling";

const HALF_HEADS: usize = 200;
const SILENT: usize = 15_000;
const PAYLOAD_BYTES: usize = 990_000;

/// Sends the same request over and over without waiting for answers.
pub fn pipeline(generator: &Generator, method: &'static str, target: &'static str, connections: usize, flow: Flow) {
    for _ in 0..connections {
        generator.client(move |generator| async move {
            let chunk = many(&request(method, target, ""));
            generator.pour(generator.connect().await?, &chunk, flow).await
        });
    }
}

/// Sends a poll that waits, and endless requests behind it.
pub fn behind_a_poll(generator: &Generator, connections: usize) {
    for _ in 0..connections {
        generator.client(|generator| async move {
            let (mut line, target) = session(&generator).await?;
            line.write(&request("GET", &target, "")).await?;
            generator.pour(line, &many(&request("GET", "/x", "")), Flow::Unread).await
        });
    }
}

/// Opens and resets WebSockets at `target`.
pub fn websockets(generator: &Generator, target: &'static str) {
    generator.client(move |generator| async move {
        loop {
            open_and_reset(&generator, target).await?;
        }
    });
}

/// The same with 0.9, where each needs a handshake first.
pub fn websockets_of_0_9(generator: &Generator) {
    generator.client(|generator| async move {
        let mut handshakes = generator.connect().await?;
        loop {
            handshakes.write(&request("GET", "/socket.io/1/", "")).await?;
            let answer = handshakes.answer().await?;
            let sid = answer.split(':').next().unwrap_or_default();
            open_and_reset(&generator, &format!("/socket.io/1/websocket/{sid}")).await?;
        }
    });
}

async fn open_and_reset(generator: &Generator, target: &str) -> io::Result<()> {
    let mut line = generator.connect().await?;
    line.write(&upgrade(target)).await?;
    line.expect("\r\n\r\n").await?;
    // A reset keeps no port; a FIN would keep it for a minute.
    socket2::SockRef::from(&line.stream).set_linger(Some(Duration::ZERO))
}

/// Opens connections that begin a request and do not finish it, after `before` was sent and answered.
pub fn half_heads(generator: &Generator, before: &'static [u8]) {
    for _ in 0..HALF_HEADS {
        generator.client(move |generator| async move {
            let mut line = generator.connect().await?;
            if !before.is_empty() {
                line.write(before).await?;
                line.answer().await?;
            }
            line.write(b"GET / HT").await?;
            generator.discard(&mut line.stream).await
        });
    }
}

/// Opens connections that send nothing.
pub fn silent_connections(generator: &Generator) {
    for _ in 0..SILENT {
        generator.client(|generator| async move {
            let mut line = generator.connect().await?;
            let ended = generator.discard(&mut line.stream).await;
            // The pace of a crowd that was turned away, not of an attacker.
            sleep(Duration::from_secs(1)).await;
            ended
        });
    }
}

/// Two sessions POST as many `packet`s as the server takes at once, over and over.
pub fn large_posts(generator: &Generator, packet: &'static str) {
    for _ in 0..2 {
        generator.client(move |generator| async move {
            let (line, target) = session(&generator).await?;
            let packets = PAYLOAD_BYTES / (packet.len() + 1);
            let body = [packet].repeat(packets).join("\x1e");
            generator.pour(line, &request("POST", &target, &body), Flow::Read).await
        });
    }
}

/// Opens a session by polling that connects to `/max`. Returns its target.
async fn session(generator: &Generator) -> io::Result<(Line, String)> {
    let mut line = generator.connect().await?;
    line.write(&request("GET", ENDPOINT, "")).await?;
    let answer = line.answer().await?;
    let sid = answer.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let target = format!("{ENDPOINT}&sid={}", sid.ok_or(io::ErrorKind::InvalidData)?);
    line.write(&request("POST", &target, "40/max,")).await?;
    line.answer().await?;
    line.write(&request("GET", &target, "")).await?;
    line.answer().await?;
    Ok((line, target))
}
