//! A MAX that answers at once, on a thread of the measuring process. The conversations of a user follow from the name.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{LazyLock, mpsc};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::wire::find;

/// Conversations of a user whose name begins with `many.`.
pub const MANY: usize = 10_000;

/// Starts it and returns its address. It ends with the process.
pub fn start() -> io::Result<SocketAddr> {
    let (say, said) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.and_then(|runtime| {
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let _ = say.send(listener.local_addr()?);
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(serve(stream));
                }
            })
        }) as io::Result<()>
    });
    said.recv().map_err(io::Error::other)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        while let Some(end) = find(&input, b"\r\n\r\n") {
            let answer = answer(&String::from_utf8_lossy(&input[..end]));
            input.drain(..end + 4);
            stream.write_all(answer.as_bytes()).await?;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Returns the answer to a request: the user `a.b` is in the conversation `a`.
fn answer(head: &str) -> String {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.map_or("", |line| line[name.len()..].trim())
    };
    let user = header("x-oauth-username:");
    let list: Cow<'_, str> = match user.split('.').next().unwrap_or_default() {
        "many" => many().into(),
        name => conversation(name).into(),
    };
    let body = match target {
        "/conversations" => format!("[{list}]"),
        target if target.starts_with("/people/") => {
            format!(r#"{{"username":"{user}","objectType":"person","talkingIn":[{list}]}}"#)
        }
        _ => "{}".to_owned(),
    };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn conversation(id: &str) -> String {
    format!(r#"{{"id":"{id}","objectType":"conversation"}}"#)
}

/// The many conversations. Encoding them for every answer would delay the neighbours.
fn many() -> &'static str {
    static LIST: LazyLock<String> =
        LazyLock::new(|| (0..MANY).map(|n| conversation(&format!("c{n}"))).collect::<Vec<_>>().join(","));
    &LIST
}
