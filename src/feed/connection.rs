//! One connection to a RabbitMQ. It reads one frame at a time, and keeps no message but the one that is coming in: what
//! is not read yet waits in the kernel, and then in the queue of the server. A body that is too long is passed over
//! while it comes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fault::{self, Fault};
use super::frame::{self, Frame, Kind};
use super::method::{self, Header, Method};
use super::settings::Settings;
use super::wire::Delivery;
use crate::cluster::dial::dial;
use crate::cluster::trust;
use crate::event::Token;
use crate::files::read_password;
use crate::version;

/// The longest time in which the server has to answer one question.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The bytes of the longest frame that is agreed to. RabbitMQ sends the head of a message as one frame, as long as its
/// publisher was allowed to make it: 128 KiB by default.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// The channels of a connection, at most. Their numbers begin with 1.
const CHANNELS_MAX: u16 = 3;

/// The seconds between two signs of life, at most.
const HEARTBEAT_S: u16 = 10;

/// The bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// A stream of bytes, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// What a server has sent.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Delivery(Delivery),
    /// A method on a channel.
    Method(u16, Method),
}

/// A message that comes in.
struct Arriving {
    exchange: Bytes,
    key: Bytes,
    /// The head, and the bytes of the body that have not come yet.
    header: Option<(Header, u64)>,
    body: BytesMut,
}

/// An open connection. It ends when it is dropped.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    frame_bytes_max: usize,
    message_bytes_max: usize,
    heartbeat: Option<Duration>,
    arriving: Option<Arriving>,
    heard: Instant,
    beaten: Instant,
}

impl Connection {
    /// Connects to the server, and logs in.
    ///
    /// # Errors
    /// It cannot be reached, or it refuses.
    pub async fn open(settings: &Settings) -> Result<Self, Fault> {
        let url = &settings.url;
        let (password, tls) = secrets(settings).await?;
        let stream = connect(&url.host, url.port, tls).await?;
        let now = Instant::now();
        let mut connection = Self {
            stream,
            buffer: BytesMut::with_capacity(READ_BYTES),
            frame_bytes_max: FRAME_BYTES_MAX as usize,
            message_bytes_max: settings.message_bytes_max,
            heartbeat: None,
            arriving: None,
            heard: now,
            beaten: now,
        };
        connection.log_in(settings, &password).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, settings: &Settings, password: &Token) -> Result<(), Fault> {
        let (username, vhost) = (&*settings.url.username, &*settings.url.vhost);
        self.send(frame::PROTOCOL).await?;
        let is_other = |method: Method| match method {
            Method::Close(reply) => fault::closed(&reply, username, vhost),
            _ => "the server does not answer as AMQP 0-9-1 wants it".into(),
        };
        match self.answer().await? {
            Method::Start(ways) if ways.split(|byte| *byte == b' ').any(|way| way == b"PLAIN") => {}
            Method::Start(_) => return Err("the server takes no password (PLAIN)".into()),
            other => return Err(is_other(other)),
        }
        self.send(&method::start_ok(version::VERSION, username, password.reveal())).await?;
        let (frame_bytes_max, heartbeat_s) = match self.answer().await? {
            Method::Tune { frame_bytes_max, heartbeat_s } => (frame_bytes_max, heartbeat_s),
            other => return Err(is_other(other)),
        };
        // 0 is no bound.
        let agreed = if frame_bytes_max == 0 { FRAME_BYTES_MAX } else { frame_bytes_max.min(FRAME_BYTES_MAX) };
        let heartbeat_s = if heartbeat_s == 0 { HEARTBEAT_S } else { heartbeat_s.min(HEARTBEAT_S) };
        self.frame_bytes_max = agreed as usize;
        self.heartbeat = Some(Duration::from_secs(heartbeat_s.into()));
        self.send(&method::tune_ok(CHANNELS_MAX, agreed, heartbeat_s)).await?;
        self.send(&method::open(vhost)).await?;
        match self.answer().await? {
            Method::Opened => Ok(()),
            other => Err(is_other(other)),
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection is broken, or the server does not read.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let sent = timeout(ANSWER_MAX, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        self.beaten = Instant::now();
        match sent.await {
            Ok(result) => result.map_err(|error| fault::broken(&error)),
            Err(_) => Err("the server does not read what it is sent".into()),
        }
    }

    /// Waits for the answer to a question, and passes over messages that come before it.
    ///
    /// # Errors
    /// The connection is broken, or there is no answer in time.
    pub async fn answer(&mut self) -> Result<Method, Fault> {
        let answered = timeout(ANSWER_MAX, async {
            loop {
                if let Incoming::Method(_, method) = self.next().await? {
                    return Ok(method);
                }
            }
        });
        answered.await.unwrap_or_else(|_| Err("connected, but the server does not answer".into()))
    }

    /// Waits for the next message or method. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The connection is broken, or what comes is not AMQP 0-9-1.
    pub async fn next(&mut self) -> Result<Incoming, Fault> {
        loop {
            let taken = frame::take(&mut self.buffer, self.frame_bytes_max);
            match taken.map_err(|broken| Fault::from(broken.to_string()))? {
                Some(frame) => {
                    if let Some(incoming) = self.take(frame)? {
                        return Ok(incoming);
                    }
                }
                None => self.read().await.map_err(|error| fault::broken(&error))?,
            }
        }
    }

    /// The moment at which a sign of life has to be sent.
    pub fn beat_at(&self) -> Option<Instant> {
        self.heartbeat.map(|heartbeat| self.beaten + heartbeat / 2)
    }

    /// The moment at which the server counts as gone.
    pub fn deaf_at(&self) -> Option<Instant> {
        self.heartbeat.map(|heartbeat| self.heard + 2 * heartbeat)
    }

    async fn read(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {
                self.heard = Instant::now();
                Ok(())
            }
        }
    }

    /// Takes a frame. Returns what is complete by it.
    fn take(&mut self, frame: Frame) -> Result<Option<Incoming>, Fault> {
        let cut = |_| Fault::from("the server sends a frame that is cut");
        match frame.kind {
            Kind::Heartbeat => Ok(None),
            Kind::Method => match Method::read(&frame.payload).map_err(cut)? {
                Method::Deliver { exchange, key } => {
                    self.arriving = Some(Arriving { exchange, key, header: None, body: BytesMut::new() });
                    Ok(None)
                }
                method => Ok(Some(Incoming::Method(frame.channel, method))),
            },
            Kind::Header => {
                let header = Header::read(&frame.payload).map_err(cut)?;
                let Some(arriving) = &mut self.arriving else { return Ok(None) };
                let bytes = header.bytes;
                arriving.header = Some((header, bytes));
                Ok(self.complete())
            }
            Kind::Body => {
                let keeps = self.message_bytes_max as u64;
                let Some(Arriving { header: Some((header, left)), body, .. }) = &mut self.arriving else {
                    return Ok(None);
                };
                if header.bytes <= keeps {
                    body.extend_from_slice(&frame.payload);
                }
                *left = left.saturating_sub(frame.payload.len() as u64);
                Ok(self.complete())
            }
        }
    }

    /// Returns the message that comes in, if all of it is there.
    fn complete(&mut self) -> Option<Incoming> {
        let is_complete = |arriving: &mut Arriving| matches!(arriving.header, Some((_, 0)));
        let Arriving { exchange, key, header, body } = self.arriving.take_if(is_complete)?;
        let (header, _) = header?;
        let body = (header.bytes == body.len() as u64).then(|| body.freeze());
        Some(Incoming::Delivery(Delivery { exchange, key, headers: header.texts, body }))
    }
}

/// Makes the stream to a server.
async fn connect(host: &str, port: u16, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Stream>, Fault> {
    let stream = dial(host, port).await?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Fault::from(format!("{host} is no name that a certificate can have")))?;
    let encrypted = TlsConnector::from(config).connect(name, stream).await;
    Ok(Box::new(encrypted.map_err(|error| fault::tls(host, &error))?))
}

/// Reads the password, and the certificates to trust, from their files.
async fn secrets(settings: &Settings) -> Result<(Token, Option<Arc<ClientConfig>>), Fault> {
    let settings = settings.clone();
    let read = task::spawn_blocking(move || {
        let password = match &settings.password_file {
            Some(path) => password(path)?,
            None => settings.url.password.clone(),
        };
        let trusted = || trust::client(settings.ca_file.as_deref(), "feed", "amqps");
        let tls = settings.url.tls.then(trusted).transpose()?.map(|builder| Arc::new(builder.with_no_client_auth()));
        Ok((password, tls))
    });
    read.await.map_err(|error| Fault::from(format!("the files could not be read: {error}")))?
}

fn password(path: &Path) -> Result<Token, Fault> {
    let wrong = |error| Fault::from(format!("feed.password_file {}: {error}", path.display()));
    read_password(path).map(|password| Token::from(&*password)).map_err(wrong)
}
