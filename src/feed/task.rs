//! The task that serves one RabbitMQ: it does the steps of `link`, takes what is delivered, and tells the audience.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::{sleep_until, timeout};

use super::bindings::ANSWER_MAX;
use super::connection::Incoming;
use super::fault::{self, Fault};
use super::link::{Link, Periods, State, Step};
use super::method::{self, Method, Reply};
use super::port::Taken;
use super::refreshes::Refreshes;
use super::session::{self, BINDINGS, MEMBERSHIPS, MESSAGES, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, Session};
use super::shared::Shared;
use super::teller::Teller;
use super::voice::Voice;
use super::wire::{Delivery, News};
use crate::event::{ConversationId, Username};
use crate::metrics::{FeedGap, FeedKind, FeedKindLabel};

/// The longest time from the first step of a connection to the last.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// The time between two turns while conversations are told something.
const TELL_PERIOD: Duration = Duration::from_millis(10);

/// The time between two looks at the length of the queue.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The messages that are taken in one turn.
const TAKE_MAX: usize = 256;

/// The longest wait for a turn.
const TURN_MAX: Duration = Duration::from_secs(60);

/// The right to hear the exchange of a conversation.
const READ_CONVERSATION: &str = "the rights to write `^amq\\.gen` and to read the exchange";

type Opening = Pin<Box<dyn Future<Output = Result<Session, Fault>>>>;

/// The reason why the task goes on.
enum Woken {
    Opened(Result<Box<Session>, Fault>),
    Incoming(Result<Incoming, Fault>),
    Other,
}

/// The task.
pub struct Task {
    shared: Arc<Shared>,
    link: Link,
    opening: Option<Opening>,
    session: Option<Session>,
    teller: Teller,
    refreshes: Refreshes,
    voice: Voice,
    look_due: Instant,
    /// When a look was asked for that is not answered yet.
    looks_since: Option<Instant>,
}

impl Task {
    /// Creates the task.
    pub fn new(shared: Arc<Shared>) -> Self {
        let settings = &shared.settings;
        let periods = Periods { tell_after: settings.tell_after, reconnect_max: settings.reconnect_max };
        let now = Instant::now();
        let mut link = Link::new(periods, rand::random(), now);
        // A task before this one may have ended by a panic.
        if shared.was_up.load(Ordering::SeqCst) || shared.outage.load(Ordering::SeqCst) != 0 {
            link.was_up();
        }
        shared.bindings.lock().disconnected();
        Self {
            link,
            opening: None,
            session: None,
            teller: Teller::new(shared.clone()),
            refreshes: Refreshes::new(settings.refreshes_per_second_max),
            voice: Voice::new(&shared),
            look_due: now,
            looks_since: None,
            shared,
        }
    }

    /// Serves until the feed is stopped.
    pub async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.do_steps(now);
            self.work(now).await;
            self.do_steps(now);
            self.voice.report(&self.shared, &self.link, self.refreshes.waiting(), now);
            if self.shared.stops.load(Ordering::SeqCst) {
                if let Some(session) = &mut self.session {
                    // The server ends the queue with the connection in any case.
                    session.connection.send(&method::close()).await.ok();
                }
                return;
            }
            match self.wait(now).await {
                Woken::Opened(opened) => self.opened(opened),
                Woken::Incoming(incoming) => self.take_all(incoming).await,
                Woken::Other => {}
            }
        }
    }

    async fn wait(&mut self, now: Instant) -> Woken {
        let wake_at = self.wake_at(now);
        let Self { shared, opening, session, .. } = self;
        let opened = async {
            match opening {
                Some(opening) => opening.await,
                None => pending().await,
            }
        };
        let incoming = async {
            match session {
                Some(session) => session.connection.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            opened = opened => Woken::Opened(opened.map(Box::new)),
            incoming = incoming => Woken::Incoming(incoming),
            () = shared.wake.notified() => Woken::Other,
            () = sleep_until(wake_at.into()) => Woken::Other,
        }
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let session = self.session.as_ref();
        let connection = session.map(|session| &session.connection);
        let moments = [
            self.link.wake_at(),
            connection.and_then(|connection| connection.beat_at()),
            connection.and_then(|connection| connection.deaf_at()),
            connection.map(|_| self.look_due),
            session.and_then(|session| session.memberships.wake_at()),
            connection.and_then(|_| self.shared.bindings.lock().wake_at()),
            connection.and_then(|_| self.shared.bindings.lock().overdue_at()),
            self.refreshes.wake_at(now),
            self.teller.is_active().then(|| now + TELL_PERIOD),
        ];
        moments.into_iter().flatten().min().unwrap_or(now + TURN_MAX).min(now + TURN_MAX)
    }

    fn do_steps(&mut self, now: Instant) {
        while let Some(step) = self.link.poll(now) {
            self.step(step);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect => {
                let shared = self.shared.clone();
                self.opening = Some(Box::pin(async move {
                    let opened = timeout(OPEN_MAX, Session::open(&shared.settings, &mut |_, _| {})).await;
                    opened.unwrap_or_else(|_| {
                        Err("no connection within 10 s: is the address right, and does no firewall drop it?".into())
                    })
                }));
            }
            Step::TearDown => {
                (self.opening, self.session) = (None, None);
                self.shared.bindings.lock().disconnected();
            }
            Step::TellOutage => self.teller.away(),
            Step::TellOver => self.teller.back(FeedGap::Outage),
        }
    }

    fn opened(&mut self, opened: Result<Box<Session>, Fault>) {
        self.opening = None;
        let now = Instant::now();
        match opened {
            Ok(session) => {
                self.voice.connected(&self.shared);
                self.voice.memberships(session.memberships.without());
                self.session = Some(*session);
                self.shared.bindings.lock().connected();
                (self.look_due, self.looks_since) = (now + LOOK_PERIOD, None);
                // Those that live already may have missed something.
                if !self.shared.audience.conversations().is_empty() {
                    self.link.was_up();
                }
                self.link.connected();
            }
            Err(fault) => self.link.fail(fault, now),
        }
    }

    /// Does what is due.
    async fn work(&mut self, now: Instant) {
        if let Err(fault) = self.keep_connection(now).await {
            self.link.fail(fault, now);
        }
        if self.link.state() == State::Binding && self.shared.bindings.lock().is_complete() {
            self.link.complete(now);
            self.shared.was_up.store(true, Ordering::SeqCst);
        }
        self.teller.tell(now);
        while let Some(username) = self.refreshes.next(now) {
            self.shared.audience.refresh(&username);
            self.shared.metrics.feed_refreshes.inc();
        }
    }

    /// Sends what has to be sent.
    ///
    /// # Errors
    /// The connection is of no use any more.
    async fn keep_connection(&mut self, now: Instant) -> Result<(), Fault> {
        let Some(Session { connection, queue, memberships }) = &mut self.session else { return Ok(()) };
        if connection.deaf_at().is_some_and(|at| now >= at) {
            return Err("the server is not heard any more".into());
        }
        let is_overdue = self.shared.bindings.lock().overdue_at().is_some_and(|at| now >= at);
        if is_overdue || memberships.is_overdue(now) {
            return Err("the server does not answer any more".into());
        }
        let mut frames = Vec::new();
        if now >= self.look_due {
            self.look_due = now + LOOK_PERIOD;
            match self.looks_since {
                None => {
                    self.looks_since = Some(now);
                    frames.extend(method::find_queue(MESSAGES, queue));
                }
                Some(since) if now >= since + ANSWER_MAX => return Err("the server does not answer any more".into()),
                Some(_) => {}
            }
        }
        let layout = self.shared.settings.reader.layout;
        if memberships.is_search_due(session::tells_of_memberships(layout).1.len(), now) {
            frames.extend(session::hearing_memberships(layout, queue).concat());
        }
        while let Some(change) = self.shared.bindings.lock().next(now) {
            let of = if change.binds { method::bind } else { method::unbind };
            frames.extend(of(BINDINGS, queue, change.id.as_str(), ""));
        }
        if frames.is_empty() && connection.beat_at().is_some_and(|at| now >= at) {
            frames = method::heartbeat();
        }
        if frames.is_empty() { Ok(()) } else { connection.send(&frames).await }
    }

    /// Takes what has come, and what is there with it.
    async fn take_all(&mut self, first: Result<Incoming, Fault>) {
        let mut incoming = first;
        for left in (0..TAKE_MAX).rev() {
            let now = Instant::now();
            if let Err(fault) = self.take(incoming, now).await {
                return self.link.fail(fault, now);
            }
            let more = self.session.as_mut().filter(|_| left > 0);
            match more.and_then(|session| session.connection.next().now_or_never()) {
                Some(next) => incoming = next,
                None => return,
            }
        }
    }

    /// Takes one thing that has come.
    ///
    /// # Errors
    /// The connection is of no use any more.
    async fn take(&mut self, incoming: Result<Incoming, Fault>, now: Instant) -> Result<(), Fault> {
        match incoming? {
            Incoming::Delivery(delivery) => self.hear(&delivery, now),
            Incoming::Method(channel, method) => self.answered(channel, method, now).await?,
        }
        Ok(())
    }

    /// Takes a message.
    fn hear(&mut self, delivery: &Delivery, now: Instant) {
        let news = match self.shared.settings.reader.read(delivery) {
            Ok(news) => news,
            Err(why) => return self.voice.refused(&self.shared, delivery, why, now),
        };
        let kind = match &news {
            News::Update { .. } => FeedKind::Update,
            News::Created { .. } => FeedKind::Creation,
            News::Member { .. } => FeedKind::Member,
            News::Ignored => FeedKind::Ignored,
        };
        self.shared.metrics.feed_received.get_or_create(&FeedKindLabel { kind }).inc();
        match news {
            News::Update { username, talk } => {
                let id = talk.conversation.clone();
                if self.shared.audience.update(username, talk) == Taken::Full {
                    self.teller.owe(id, FeedGap::Mailbox);
                }
            }
            News::Created { conversation, username } => {
                if let Some(username) = username.filter(|username| self.shared.audience.has(username)) {
                    self.note(&conversation, username, now);
                }
                self.refreshes.settle(&conversation, now);
            }
            News::Member { conversation, username } if self.shared.audience.has(&username) => {
                self.note(&conversation, username, now);
            }
            News::Member { .. } | News::Ignored => {}
        }
    }

    fn note(&mut self, conversation: &ConversationId, username: Username, now: Instant) {
        if !self.refreshes.note(conversation, username, now) {
            self.shared.count_gap(FeedGap::Refresh);
        }
    }

    /// Takes a method of the server.
    ///
    /// # Errors
    /// The connection is of no use any more.
    async fn answered(&mut self, channel: u16, method: Method, now: Instant) -> Result<(), Fault> {
        match method {
            method if channel == MEMBERSHIPS => self.searched(method, now).await,
            Method::Bound | Method::Unbound => {
                let bound = self.shared.bindings.lock().confirmed();
                // The end of an outage covers what was missed before the exchange was bound.
                if let Some(id) = bound.filter(|_| !self.link.owes_over()) {
                    self.teller.owe(id, FeedGap::Bound);
                }
                Ok(())
            }
            Method::Queue { messages, .. } => {
                self.looks_since = None;
                // One telling covers what is dropped until it is over.
                let is_full = messages >= full_at(self.shared.settings.message_bytes_max);
                if is_full && self.link.state() == State::Up && !self.teller.is_active() {
                    self.teller.back(FeedGap::Queue);
                }
                Ok(())
            }
            Method::ChannelClose(reply) if channel == BINDINGS => self.refused(&reply, now).await,
            Method::ChannelClose(reply) => Err(fault::refused(&reply, "all rights that `check --connect` names")),
            Method::Cancel => Err("the server has taken the queue away".into()),
            Method::Close(reply) => {
                let url = &self.shared.settings.url;
                let why = fault::closed(&reply, &url.username, &url.vhost);
                if let Some(session) = &mut self.session {
                    session.connection.send(&method::close_ok()).await.ok();
                }
                Err(why)
            }
            _ => Ok(()),
        }
    }

    /// Takes an answer about the exchange that tells of memberships, which was not there when the connection was made.
    ///
    /// # Errors
    /// The connection is of no use any more.
    async fn searched(&mut self, method: Method, now: Instant) -> Result<(), Fault> {
        let Some(Session { connection, memberships, .. }) = &mut self.session else { return Ok(()) };
        match method {
            Method::Bound => memberships.bound(),
            Method::ChannelClose(reply) => {
                let (exchange, _) = session::tells_of_memberships(self.shared.settings.reader.layout);
                let why = fault::unheard(&reply, &session::right_to_hear(exchange))?;
                let again = [method::channel_close_ok(MEMBERSHIPS), method::open_channel(MEMBERSHIPS)].concat();
                connection.send(&again).await?;
                memberships.refused(why, now);
            }
            _ => {}
        }
        self.voice.memberships(memberships.without());
        Ok(())
    }

    /// Goes on after an exchange could not be bound. The server has closed the channel.
    async fn refused(&mut self, reply: &Reply, now: Instant) -> Result<(), Fault> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let again = [method::channel_close_ok(BINDINGS), method::open_channel(BINDINGS)].concat();
        session.connection.send(&again).await?;
        if self.shared.bindings.lock().refused(now).is_some() {
            self.voice.unbound(&fault::refused(reply, READ_CONVERSATION), now);
        }
        Ok(())
    }
}

/// Returns the messages with which the queue may have been full since the last look. RabbitMQ hands them on in batches,
/// and bounds their bytes too.
fn full_at(message_bytes_max: usize) -> u32 {
    let long_ones = QUEUE_BYTES_MAX as usize / message_bytes_max.max(1);
    u32::try_from(long_ones).unwrap_or(u32::MAX).min(QUEUE_MESSAGES_MAX / 2)
}
