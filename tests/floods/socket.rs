//! Floods of packets over WebSockets: joins, talks, heartbeats, leaves; and clients that never read.

use std::net::{IpAddr, Ipv4Addr};

use tokio::time::{Duration, interval, sleep};

use crate::generator::{Flow, Generator};
use crate::wire::{frame, join, many, talk, text};

const SOCKETS: usize = 20;
const LEAVERS: usize = 10;
const DEAF_MEMBERS: usize = 200;
const DEAF_ASKERS: usize = 50;
const CONNECTIONS: usize = 15_000;

/// The interval between talks to a crowd that does not read.
const CROWD_TALK_INTERVAL: Duration = Duration::from_millis(2);

/// Sends joins with a token as fast as possible.
pub fn joins(generator: &Generator, sockets: usize) {
    for n in 0..sockets {
        generator.client(move |generator| async move {
            let line = generator.connect().await?.enter().await?;
            generator.pour(line, &many(&text(&join(&format!("flood.{n}")))), Flow::Read).await
        });
    }
}

/// Sends joins without a token, which the server refuses.
pub fn refused_joins(generator: &Generator, sockets: usize) {
    for n in 0..sockets {
        generator.client(move |generator| async move {
            let line = generator.connect().await?.enter().await?;
            let packet = format!(r#"42/max,["join","flood.{n}"]"#);
            generator.pour(line, &many(&text(&packet)), Flow::Read).await
        });
    }
}

/// Talks in a conversation of neighbours.
pub fn talks(generator: &Generator) {
    generator.client(|generator| async move {
        let line = generator.connect().await?.enter_as("quiet0.flood").await?;
        generator.pour(line, &many(&text(&talk("quiet0", "flood", ""))), Flow::Read).await
    });
}

/// Sends the same frame over and over.
pub fn frames(generator: &Generator, opcode: u8, payload: &'static [u8]) {
    for _ in 0..SOCKETS {
        generator.client(move |generator| async move {
            let line = generator.connect().await?.enter().await?;
            generator.pour(line, &many(&frame(true, opcode, payload)), Flow::Read).await
        });
    }
}

/// Sends one endless message of empty fragments.
pub fn empty_frames(generator: &Generator) {
    for _ in 0..SOCKETS {
        generator.client(|generator| async move {
            let mut line = generator.connect().await?.enter().await?;
            line.write(&frame(false, 1, b"42/max,")).await?;
            generator.pour(line, &many(&frame(false, 0, b"")), Flow::Read).await
        });
    }
}

/// Joins, leaves all conversations and joins again, as a user with very many conversations.
pub fn leaves(generator: &Generator) {
    for n in 0..LEAVERS {
        generator.client(move |generator| async move {
            let user = format!("many.{n}");
            let mut line = generator.connect().await?.enter_as(&user).await?;
            loop {
                line.write(&text(r#"42/max,["leave"]"#)).await?;
                line.expect("[\"listening\",").await?;
                line.write(&text(&join(&user))).await?;
                line.expect("[\"listening\",").await?;
            }
        });
    }
}

/// Opens many sessions at once, from this number of addresses. A session that is turned away comes back a second later.
pub fn connections(generator: &Generator, places: usize) {
    for n in 0..CONNECTIONS {
        let from = match places {
            1 => IpAddr::from(Ipv4Addr::LOCALHOST),
            _ => IpAddr::from(Ipv4Addr::new(127, 1, 0, (n % places + 1) as u8)),
        };
        generator.client(move |generator| async move {
            let ended = async {
                let mut line = generator.connect_from(from).await?.enter().await?;
                generator.discard(&mut line.stream).await
            };
            let ended = ended.await;
            sleep(Duration::from_secs(1)).await;
            ended
        });
    }
}

/// A conversation in which one talks and nobody reads.
pub fn deaf_members(generator: &Generator) {
    for n in 0..DEAF_MEMBERS {
        generator.client(move |generator| async move {
            let _line = generator.connect().await?.enter_as(&format!("deaf.{n}")).await?;
            std::future::pending().await
        });
    }
    generator.client(|generator| async move {
        let mut line = generator.connect().await?.enter_as("deaf.speaker").await?;
        let talk = text(&talk("deaf", &"x".repeat(200), ""));
        let mut ticks = interval(CROWD_TALK_INTERVAL);
        loop {
            ticks.tick().await;
            line.write(&talk).await?;
        }
    });
}

/// Sessions that send `ask` and read no answer.
pub fn deaf_askers(generator: &Generator) {
    for n in 0..DEAF_ASKERS {
        generator.client(move |generator| async move {
            let line = generator.connect().await?.enter_as(&format!("asked.{n}")).await?;
            generator.pour(line, &many(&text(r#"42/max,["ask"]"#)), Flow::Unread).await
        });
    }
}
