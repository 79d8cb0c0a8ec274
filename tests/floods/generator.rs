//! The flooding process: prebuilt bytes, written to all connections of a flood until standard input ends.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::floods::FLOODS;
use crate::wire::Line;

/// How soon a client of a flood comes back after it was disconnected.
const RETURN_INTERVAL: Duration = Duration::from_millis(2);

/// Whether a flood reads its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Read,
    Unread,
}

/// The state that the tasks of a flood share.
#[derive(Clone)]
pub struct Generator {
    pub addr: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    written_bytes: AtomicU64,
    read_bytes: AtomicU64,
}

/// Runs a flood until standard input ends, and then reports what it has done.
pub fn run(name: &str, addr: SocketAddr) -> io::Result<()> {
    let flood = FLOODS.iter().find(|flood| flood.name == name).ok_or(io::ErrorKind::NotFound)?;
    maxtalk::testing::raise_file_limit(0)?;
    // Neighbours and MAX share this core and have priority.
    let _ = rustix::process::nice(5);
    let generator = Generator { addr, counts: Arc::default() };
    let counts = generator.counts.clone();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mib = |count: &AtomicU64| read(count) as f64 / f64::from(1 << 20);
        let (written, heard) = (mib(&counts.written_bytes), mib(&counts.read_bytes));
        println!("{} connections, {written:.1} MiB written, {heard:.1} MiB read", read(&counts.connections));
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        (flood.start)(&generator);
        std::future::pending().await
    })
}

impl Generator {
    /// Runs one client forever; it reconnects when it is disconnected.
    pub fn client<F>(&self, life: impl Fn(Self) -> F + Send + 'static)
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        let generator = self.clone();
        tokio::spawn(async move {
            loop {
                let _ = life(generator.clone()).await;
                sleep(RETURN_INTERVAL).await;
            }
        });
    }

    /// A connection from the usual address of floods.
    pub async fn connect(&self) -> io::Result<Line> {
        self.connect_from(Ipv4Addr::LOCALHOST.into()).await
    }

    /// A connection from another address.
    pub async fn connect_from(&self, from: IpAddr) -> io::Result<Line> {
        let line = Line::connect(self.addr, from).await?;
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        Ok(line)
    }

    /// Writes `chunk` over and over until the connection ends.
    pub async fn pour(&self, line: Line, chunk: &[u8], flow: Flow) -> io::Result<()> {
        let (mut reader, mut writer) = line.stream.into_split();
        let write = async {
            loop {
                writer.write_all(chunk).await?;
                self.counts.written_bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        };
        match flow {
            Flow::Unread => write.await,
            Flow::Read => tokio::try_join!(write, self.discard(&mut reader)).map(|((), ())| ()),
        }
    }

    /// Reads and discards everything.
    pub async fn discard(&self, reader: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
        let mut bytes = vec![0; 65_536];
        loop {
            match reader.read(&mut bytes).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.counts.read_bytes.fetch_add(length as u64, Ordering::Relaxed),
            };
        }
    }
}
