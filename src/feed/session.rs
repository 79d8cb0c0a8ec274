//! A connection that listens: the steps from the address of a RabbitMQ to a queue that is read. The queue is one of
//! this connection, and goes with it. Exchanges are looked for and never made.

use bytes::Bytes;

use super::connection::Connection;
use super::fault::{self, Fault};
use super::method::{self, Method};
use super::settings::Settings;
use super::wire::{BINDING_EVENTS, CONVERSATIONS, EVENTS, Layout, NEW, TOPICS};

/// The channel of the messages. Its end is that of the session.
pub const MESSAGES: u16 = 1;

/// The channel of questions that the server may refuse: a refusal closes the channel on which it was asked.
pub const BINDINGS: u16 = 2;

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
    /// Why changes of memberships are not heard, if they are not.
    pub without_memberships: Option<Fault>,
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
        let mut session = Self { connection, queue: Bytes::new(), without_memberships: None };
        session.ask(settings, &method::open_channel(MESSAGES), "").await?;
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
            let bound = session.bind(settings, MESSAGES, CONVERSATIONS, &TOPICS).await;
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
        let (exchange, keys): (_, &[_]) = match settings.reader.layout {
            Layout::V3 => (NEW, &["#"]),
            Layout::V4 | Layout::V5 => (EVENTS, &BINDING_EVENTS),
        };
        self.ask(settings, &method::open_channel(BINDINGS), "").await?;
        let heard = match self.ask(settings, &method::find_exchange(BINDINGS, exchange), "").await {
            Ok(_) => self.bind(settings, BINDINGS, exchange, keys).await,
            Err(fault) => Err(fault),
        };
        let step = match heard {
            Ok(()) => Step::Done,
            Err(fault) => {
                self.ask(settings, &method::open_channel(BINDINGS), "").await?;
                self.without_memberships = Some(fault.clone());
                Step::Absent(fault)
            }
        };
        report(format!("hear of memberships by `{exchange}`"), step);
        Ok(())
    }

    async fn bind(&mut self, settings: &Settings, channel: u16, exchange: &str, keys: &[&str]) -> Result<(), Fault> {
        let right = format!("the rights to write `^amq\\.gen` and to read `{exchange}`");
        for key in keys {
            self.ask(settings, &method::bind(channel, &self.queue.clone(), exchange, key), &right).await?;
        }
        Ok(())
    }

    /// Asks for something, and waits for the answer.
    async fn ask(&mut self, settings: &Settings, question: &[u8], right: &str) -> Result<Method, Fault> {
        self.connection.send(question).await?;
        match self.connection.answer().await? {
            Method::Close(reply) => Err(fault::closed(&reply, &settings.url.username, &settings.url.vhost)),
            Method::ChannelClose(reply) => {
                // The channel stands in the head of the question.
                let channel = u16::from_be_bytes([question[1], question[2]]);
                self.connection.send(&method::channel_close_ok(channel)).await?;
                Err(fault::refused(&reply, right))
            }
            answer => Ok(answer),
        }
    }
}

fn done<T>(name: String, result: Result<T, Fault>, report: &mut dyn FnMut(String, Step)) -> Result<T, Fault> {
    let step = result.as_ref().err().map_or(Step::Done, |fault| Step::Failed(fault.clone()));
    report(name, step);
    result
}
