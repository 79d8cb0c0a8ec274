//! A connection that listens: the steps from the address of a RabbitMQ to a queue that is read. The queue is one of
//! this connection, and goes with it. Exchanges are looked for and never made.

use std::time::Instant;

use bytes::Bytes;

use super::connection::Connection;
use super::fault::{self, Fault};
use super::memberships::Memberships;
use super::method::{self, Method, Reply};
use super::settings::Settings;
use super::wire::{BINDING_EVENTS, CONVERSATIONS, EVENTS, Layout, NEW, TOPICS};

/// The channel of the messages. Its end is that of the session.
pub const MESSAGES: u16 = 1;

/// The channel of the exchanges of conversations: a refusal closes the channel on which it was asked.
pub const BINDINGS: u16 = 2;

/// The channel of the exchange that tells of memberships, which may be refused too.
pub const MEMBERSHIPS: u16 = 3;

/// The messages that wait in the queue, at most. If there are more, the oldest is dropped.
pub const QUEUE_MESSAGES_MAX: u32 = 10_000;

/// The bytes of these messages, at most.
pub const QUEUE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// The right to make the queue.
const CONFIGURE: &str = "the right to configure `^amq\\.gen`";

/// The right to read the queue.
const READ: &str = "the right to read `^amq\\.gen`";

/// A connection that listens.
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// The name of the queue.
    pub queue: Bytes,
    /// Whether changes of memberships are heard.
    pub memberships: Memberships,
}

/// The end of a step.
#[derive(Clone, Debug)]
pub enum Step {
    /// It has worked.
    Done,
    /// It has not, and the feed goes on without it.
    Absent(Fault),
    /// It has not, and the feed needs it.
    Failed(Fault),
}

impl Session {
    /// Opens a session. Each step is reported with its name.
    ///
    /// # Errors
    /// A step that the feed needs has failed.
    pub async fn open(settings: &Settings, report: &mut dyn FnMut(String, Step)) -> Result<Self, Fault> {
        let name = format!("connect to {} as `{}`", settings.url.shown(), settings.url.username);
        let connection = done(name, Connection::open(settings).await, report)?;
        let memberships = Memberships::new(None, settings.reconnect_max, Instant::now());
        let mut session = Self { connection, queue: Bytes::new(), memberships };
        for channel in [MESSAGES, BINDINGS, MEMBERSHIPS] {
            session.ask(settings, &method::open_channel(channel), "").await?;
        }
        let listens_to_all = settings.reader.layout != Layout::V3;
        if listens_to_all {
            let found = session.ask(settings, &method::find_exchange(MESSAGES, CONVERSATIONS), "").await;
            done(format!("find the exchange `{CONVERSATIONS}`"), found, report)?;
        }
        let made = session
            .ask(settings, &method::make_queue(MESSAGES, QUEUE_MESSAGES_MAX, QUEUE_BYTES_MAX), CONFIGURE)
            .await
            .and_then(|method| match method {
                Method::Queue { name, .. } => Ok(name),
                _ => Err("the server does not say the name of the queue".into()),
            });
        session.queue = done("make a queue".to_owned(), made, report)?;
        if listens_to_all {
            let bound = session.bind(settings, CONVERSATIONS, &TOPICS).await;
            done(format!("bind it to `{CONVERSATIONS}`"), bound, report)?;
        }
        session.hear_memberships(settings, report).await?;
        let consumed = session.ask(settings, &method::consume(MESSAGES, &session.queue.clone()), READ).await;
        done("read it".to_owned(), consumed, report)?;
        Ok(session)
    }

    /// Binds the queue to the exchange that tells of memberships, if it is there.
    async fn hear_memberships(
        &mut self,
        settings: &Settings,
        report: &mut dyn FnMut(String, Step),
    ) -> Result<(), Fault> {
        let (exchange, _) = tells_of_memberships(settings.reader.layout);
        let name = format!("hear of memberships by `{exchange}`");
        let mut refusal = None;
        for question in hearing_memberships(settings.reader.layout, &self.queue) {
            if let Err(reply) = self.try_to(settings, &question).await? {
                refusal = Some(reply);
                break;
            }
        }
        let Some(reply) = refusal else {
            report(name, Step::Done);
            return Ok(());
        };
        let fault = match fault::unheard(&reply, &right_to_hear(exchange)) {
            Ok(fault) => fault,
            failed => return done(name, failed, report).map(drop),
        };
        self.ask(settings, &method::open_channel(MEMBERSHIPS), "").await?;
        self.memberships = Memberships::new(Some(fault.clone()), settings.reconnect_max, Instant::now());
        report(name, Step::Absent(fault));
        Ok(())
    }

    async fn bind(&mut self, settings: &Settings, exchange: &str, keys: &[&str]) -> Result<(), Fault> {
        for key in keys {
            let question = method::bind(MESSAGES, &self.queue, exchange, key);
            self.ask(settings, &question, &right_to_hear(exchange)).await?;
        }
        Ok(())
    }

    /// Asks for something that the feed needs, and waits for the answer.
    async fn ask(&mut self, settings: &Settings, question: &[u8], right: &str) -> Result<Method, Fault> {
        self.try_to(settings, question).await?.map_err(|reply| fault::refused(&reply, right))
    }

    /// Asks for something, and waits for the answer or the refusal.
    ///
    /// # Errors
    /// The connection is of no use any more.
    async fn try_to(&mut self, settings: &Settings, question: &[u8]) -> Result<Result<Method, Reply>, Fault> {
        self.connection.send(question).await?;
        match self.connection.answer().await? {
            Method::Close(reply) => Err(fault::closed(&reply, &settings.url.username, &settings.url.vhost)),
            Method::ChannelClose(reply) => {
                // The channel stands in the head of the question.
                let channel = u16::from_be_bytes([question[1], question[2]]);
                self.connection.send(&method::channel_close_ok(channel)).await?;
                Ok(Err(reply))
            }
            answer => Ok(Ok(answer)),
        }
    }
}

/// Returns the exchange that tells of memberships, and the keys by which it is bound.
pub fn tells_of_memberships(layout: Layout) -> (&'static str, &'static [&'static str]) {
    match layout {
        Layout::V3 => (NEW, &["#"]),
        Layout::V4 | Layout::V5 => (EVENTS, &BINDING_EVENTS),
    }
}

/// Returns the questions by which this exchange is found and bound, each of which may be refused.
pub fn hearing_memberships(layout: Layout, queue: &[u8]) -> Vec<Vec<u8>> {
    let (exchange, keys) = tells_of_memberships(layout);
    let bind = |key: &&str| method::bind(MEMBERSHIPS, queue, exchange, key);
    [method::find_exchange(MEMBERSHIPS, exchange)].into_iter().chain(keys.iter().map(bind)).collect()
}

/// Returns the right that it takes to hear an exchange.
pub fn right_to_hear(exchange: &str) -> String {
    format!("the rights to write `^amq\\.gen` and to read `{exchange}`")
}

fn done<T>(name: String, result: Result<T, Fault>, report: &mut dyn FnMut(String, Step)) -> Result<T, Fault> {
    let step = result.as_ref().err().map_or(Step::Done, |fault| Step::Failed(fault.clone()));
    report(name, step);
    result
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use bytes::{BufMut as _, BytesMut};

    use super::super::frame::{self, Kind};
    use super::super::wire::Reader;
    use super::*;
    use crate::config::AmqpUrl;

    /// Starts a server that says yes to all questions but the one for the exchange of the plugin, and returns its port.
    /// That one it answers by closing the channel for this reason.
    fn server(code: u16, text: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; frame::PROTOCOL.len()]).unwrap();
            let send = |mut stream: &std::net::TcpStream, channel: u16, class: u16, number: u16, rest: &[u8]| {
                let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), rest].concat();
                let mut out = Vec::new();
                frame::put(&mut out, Kind::Method, channel, &payload);
                stream.write_all(&out).unwrap();
            };
            send(&stream, 0, 10, 10, b"\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\0");
            let mut buffer = BytesMut::new();
            let mut bytes = [0; 4096];
            loop {
                while let Some(asked) = frame::take(&mut buffer, 1 << 20).unwrap() {
                    let (class, number) = (asked.payload[1].into(), asked.payload[3].into());
                    let is_event = asked.payload.windows(EVENTS.len()).any(|part| part == EVENTS.as_bytes());
                    match (class, number) {
                        (10, 11) => send(&stream, 0, 10, 30, b"\0\0\0\0\0\0\0\0"),
                        (10, 31) | (20, 41) => {}
                        (40, 10) if is_event => {
                            let mut reason = Vec::new();
                            reason.put_u16(code);
                            reason.put_u8(text.len() as u8);
                            reason.put_slice(text.as_bytes());
                            reason.put_u32(0);
                            send(&stream, asked.channel, 20, 40, &reason);
                        }
                        (50, 10) => send(&stream, asked.channel, 50, 11, b"\x01q\0\0\0\0\0\0\0\0"),
                        (class, number) => send(&stream, asked.channel, class, number + 1, b"\0\0\0\0"),
                    }
                }
                match stream.read(&mut bytes) {
                    Ok(count) if count > 0 => buffer.extend_from_slice(&bytes[..count]),
                    _ => return,
                }
            }
        });
        port
    }

    fn settings(port: u16) -> Settings {
        let second = std::time::Duration::from_secs(1);
        Settings {
            url: AmqpUrl::parse(&format!("amqp://127.0.0.1:{port}")).unwrap(),
            password_file: None,
            ca_file: None,
            reader: Reader { layout: Layout::V5, id_bytes_max: 64, vhost: "/".to_owned() },
            refreshes_per_second_max: 1,
            message_bytes_max: 1024,
            tell_after: second,
            missed_spread: second,
            reconnect_max: second,
        }
    }

    /// Only an exchange that is not there or may not be read is done without.
    #[test]
    fn a_fault_of_the_search_for_memberships_is_one_of_the_connection() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (code, text, words, is_open) in [
            (404, "NOT_FOUND - no exchange 'amq.rabbitmq.event' in vhost '/'", "enable rabbitmq_event_exchange", true),
            (403, "ACCESS_REFUSED - access", "the rights to write `^amq\\.gen` and to read `amq.rabbitmq.event`", true),
            (541, "INTERNAL_ERROR", "541 INTERNAL_ERROR", false),
        ] {
            let mut last = None;
            let settings = settings(server(code, text));
            let opened = runtime.block_on(Session::open(&settings, &mut |name, step| last = Some((name, step))));
            let fault = match &opened {
                Ok(session) => session.memberships.without().unwrap().clone(),
                Err(fault) => fault.clone(),
            };
            assert!(opened.is_ok() == is_open && fault.contains(words), "{code}: {fault}, {last:?}");
        }
    }
}
