//! Every setting of maxtalk, declared once: its meaning, its unit (in the name), its default and its allowed values.
//! The typed structs, the annotated file of `maxtalk config`, the names of the environment variables and the messages
//! of a refused start all come from the one table in this file.
//!
//! A value comes from the highest layer that gives it: flags over environment over file over defaults. The defaults are
//! a file like the operator's, namely the text that `maxtalk config` prints. Values of lower layers are checked too, so
//! that a bad value is found before the layer above it is removed.
//!
//! * `declare`: the macro that makes structs and descriptions of the table.
//! * `allowed`: the sets of values that settings allow; `base_url`: the set of `max.url`.
//! * `rules`: the rules between settings.
//! * `layers`: file, environment and flags as raw values (`raw`), each with its source.
//! * `variables`: the meaning of the names of environment variables.
//! * `filter`: the check of the log filter.
//! * `live`: the settings that may be changed while the server runs; `change`: their change.
//! * `origins`: where the value of each setting comes from, and how messages show it.
//! * `near`: the known name that is most like an unknown one; `print`: the annotated file.
//! * `cluster`: the values of the settings of a cluster; `feed`: of those of MAX's feed.
//! * `policy`: the fate of news that does not fit into an outbox.
//! * [`cost`]: the memory and the files that a configuration can take.
//! * `problem`: everything that can be wrong, as values.

mod allowed;
mod base_url;
mod change;
mod cluster;
pub mod cost;
mod declare;
mod feed;
mod filter;
mod layers;
mod live;
mod near;
mod origins;
mod policy;
mod print;
mod problem;
mod raw;
mod rules;
mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use actix_http::header::HeaderValue;
use allowed::{
    ADDRESSES, Allowed, BASE_URLS, Booleans, Decimals, ENDPOINT_PATHS, FILES, Generations, HEADER_VALUES, LOG_FILTERS,
    LOG_FORMATS, NAMESPACES, Networks, OUTBOX_POLICIES, Optional, SID_TAGS, TOKENS, USERNAMES,
};
pub use base_url::{BaseUrl, is_link_local};
pub use change::{Change, Changed, LiveConfig, Parts};
use cluster::{CHANNELS, DIALECTS, EventNames, NODE_NAMES, PREFIXES, RedisUrls};
pub use cluster::{Dialect, RedisUrl, message_bytes_min};
use declare::settings;
use feed::{AMQP_URLS, FEED_LAYOUTS};
pub use feed::{AmqpUrl, FeedLayout};
use ipnet::IpNet;
pub use layers::{File, Flag, Sources};
use layers::{Read, Reader};
pub use live::LIVE;
use origins::Origins;
pub use policy::OutboxPolicy;
pub use print::annotated_defaults;
use print::{Section, Setting};
pub use problem::{Error, Problem};
use raw::Raw;
pub use raw::Source;

use crate::event::{Token, Username};
use crate::ids::SidTag;
use crate::logging::LogFormat;
use crate::protocol::Generation;

/// Milliseconds of a day: no wait of a server should be longer.
const DAY_MS: u64 = 86_400_000;

/// Bytes of a GiB.
const GIB: usize = 1 << 30;

/// The word for no value: in the table below, and where a setting is shown.
const NONE: &str = "none";

settings! {
    /// The listener and the process.
    [server] Server {
        /// Address that clients connect to.
        listen: SocketAddr = "127.0.0.1:6545" in ADDRESSES,
        /// Worker threads; 0 starts one per core.
        workers: usize = 0 in 0..=1024,
        /// Time over which sessions are closed, evenly, before the server stops; 0 closes them all at once. Whatever
        /// ends the process must wait for longer than this and `server.stop_ms` together.
        drain_ms: u64 = 0 in 0..=DAY_MS,
        /// Longest wait for connections to end when the server stops.
        stop_ms: u64 = 5000 in 1..=DAY_MS,
        /// The kernel's send buffer of each WebSocket connection. A client that reads too slowly fills it in addition
        /// to its outbox. The kernel doubles the value; 0 leaves the size to the kernel, which may take megabytes.
        send_buffer_bytes: usize = 65536 in 0..=GIB / 2,
        /// Longest wait for the first byte of a connection, and for each head and each body of a request.
        request_timeout_ms: u64 = 10000 in 1000..=DAY_MS,
        /// How long an idle HTTP connection is kept.
        keep_alive_ms: u64 = 75000 in 1000..=DAY_MS,
        /// How long a client may read nothing of its output before its connection is closed.
        write_timeout_ms: u64 = 20000 in 1..=DAY_MS,
        /// Largest head of a request: the request line and its headers. A request may have at most 100 headers.
        head_bytes_max: usize = 32768 in 1024..=1_048_576,
        /// Addresses and networks, such as 10.0.0.0/8, of proxies in front of maxtalk. The address of a client is taken
        /// from their header `X-Forwarded-For`, or from `Forwarded` if there is no such header.
        trusted_proxies: Vec<IpNet> = [] in Networks,
        /// Beginning of the sids of this server, by which a proxy in front of several servers can route polls. Each
        /// server needs its own; none draws one at each start.
        sid_tag: Option<SidTag> = none in Optional(SID_TAGS),
    }

    /// Engine.IO and Socket.IO.
    [protocol] Protocol {
        /// Path of the endpoint. It is served with and without its last slash.
        path: String = "/socket.io/" in ENDPOINT_PATHS,
        /// Namespace in which clients join and talk.
        namespace: String = "/max" in NAMESPACES,
        /// Protocols that clients may speak: "eio4" is Engine.IO 4 (Socket.IO 3 and 4), "eio3" is Engine.IO 3
        /// (Socket.IO 1 and 2), "0.9" is Socket.IO 0.7 to 0.9.
        generations: Vec<Generation> = ["eio4", "eio3", "0.9"] in Generations,
        /// Whether handshakes and polls may be answered by scripts (JSONP). Browsers without CORS need it on pages of
        /// another origin; clients of 0.8 need it for every handshake from another origin.
        jsonp: bool = true in Booleans,
        /// Time between two heartbeats.
        ping_interval_ms: u64 = 25000 in 1..=DAY_MS,
        /// Longest wait for the answer to a heartbeat.
        ping_timeout_ms: u64 = 20000 in 1..=DAY_MS,
        /// Largest message or POST that a client may send (`maxPayload`).
        payload_bytes_max: usize = 1000000 in 1..=GIB,
        /// Longest time for an upgrade from polling to WebSocket.
        upgrade_timeout_ms: u64 = 10000 in 1..=DAY_MS,
        /// Longest time from the beginning of a session to its first namespace.
        connect_timeout_ms: u64 = 45000 in 1..=DAY_MS,
        /// How long a closed polling session is kept so that its next poll can be told.
        close_timeout_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// Clients of Socket.IO 0.7 to 0.9.
    [legacy] Legacy {
        /// Time between two heartbeats over a WebSocket.
        heartbeat_interval_ms: u64 = 25000 in 1..=DAY_MS,
        /// Longest wait for the answer to a heartbeat. Clients are told this time in whole seconds.
        heartbeat_timeout_ms: u64 = 60000 in 1..=DAY_MS,
        /// How long a session lives without a poll. Clients are told this time in whole seconds, and leave a server
        /// that is silent for longer.
        close_timeout_ms: u64 = 60000 in 1..=DAY_MS,
        /// How long a poll waits for something to send.
        polling_duration_ms: u64 = 20000 in 1..=DAY_MS,
        /// How long a session waits for its first transport.
        handshake_timeout_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// MAX and the calls to it.
    [max] Max {
        /// Base URL of MAX, including its path; none starts the embedded demo MAX.
        url: Option<BaseUrl> = none in Optional(BASE_URLS),
        /// PEM file of certificate authorities to trust in addition to the system's.
        ca_file: Option<PathBuf> = none in Optional(FILES),
        /// Whether a join without a token is answered by asking MAX as the service account. Anybody can then join as
        /// anybody. Needs `max.url`, `max.service_username` and `max.service_token`.
        tokenless_joins: bool = false in Booleans,
        /// Username of the service account, a MAX Manager.
        service_username: Option<Username> = none in Optional(USERNAMES),
        /// Token of the service account.
        service_token: Option<Token> = none in Optional(TOKENS),
        /// `X-Oauth-Scope` of a call if the client names no scope.
        scope: HeaderValue = "widgetcli" in HEADER_VALUES,
        /// Whether MAX may be at a link-local address such as 169.254.169.254, where clouds give away secrets.
        allow_link_local: bool = false in Booleans,
        /// Most calls to MAX at the same time. The limit falls while MAX is slow. One process of MAX bears about 8.
        inflight_max: usize = 8 in 1..=65_536,
        /// Most joins that wait for their call.
        waiting_max: usize = 20000 in 1..=10_000_000,
        /// Longest wait of a join for its call.
        wait_ms: u64 = 10000 in 1..=DAY_MS,
        /// Longest time for all calls of one join together, including the bodies of the answers.
        timeout_ms: u64 = 5000 in 1..=DAY_MS,
        /// Largest answer of MAX.
        body_bytes_max: usize = 4194304 in 1..=GIB,
        /// Most conversations of one user.
        conversations_max: usize = 1000 in 1..=1_000_000,
    }

    /// A crowd in the embedded demo MAX, for load tests.
    [demo] Demo {
        /// Let other machines reach the demo MAX, which gives its tokens to everybody.
        public: bool = false in Booleans,
        /// People in addition to the demo's own: users u0, u1 and so on, who can only listen. The token of each is the
        /// username.
        people: usize = 0 in 0..=10_000_000,
        /// Members of each of their conversations c0, c1 and so on, which are filled in the order of the users. The
        /// average if `demo.zipf` is set.
        members: usize = 10 in 2..=10_000_000,
        /// Conversations of each of these people, among other members each time.
        conversations_per_person: usize = 1 in 1..=1000,
        /// Exponent of a power law: the k-th of these conversations has members in proportion to 1/k to this power.
        /// None gives all the same number.
        zipf: Option<f64> = none in Optional(Decimals(0.0..=10.0)),
    }

    /// The pages for browsers at `server.listen`: the demo at `/`, and Inspect at `/inspect`.
    [pages] Pages {
        /// Whether they are served. Without them, `/` still answers the checks of load balancers.
        enabled: bool = true in Booleans,
    }

    /// Bounds of the actors' mailboxes, in messages.
    [mailbox] Mailbox {
        /// Joins in progress: those that wait for the registry, for MAX or for conversations.
        registry: usize = 20000 in 1..=10_000_000,
        /// Talks, asks and joins that wait for one conversation.
        conversation: usize = 2048 in 1..=10_000_000,
        /// HTTP requests that wait for one session.
        session: usize = 16 in 1..=1_000_000,
    }

    /// One connected client.
    [session] Session {
        /// Most events that wait for a join in progress, and most asks in progress.
        pending_max: usize = 64 in 1..=1_000_000,
        /// How long to wait for conversations to accept a join or answer an ask.
        answer_ms: u64 = 5000 in 1..=DAY_MS,
        /// Talks that may wait in conversations. A session that reaches this is not read until half of them are sent.
        talks_max: usize = 64 in 1..=1_000_000,
        /// Sessions of one user; 0 is no limit.
        per_user_max: usize = 1000 in 0..=10_000_000,
        /// Events per second; 0 is no limit.
        events_per_second_max: u64 = 2000 in 0..=1_000_000_000,
        /// Events at once.
        events_burst_max: u64 = 5000 in 1..=1_000_000_000,
        /// Bytes of events per second; 0 is no limit.
        bytes_per_second_max: u64 = 2000000 in 0..=1_000_000_000_000,
        /// Bytes of events at once. A larger event is accepted after a pause.
        bytes_burst_max: u64 = 10000000 in 1..=1_000_000_000_000,
        /// How long a refusal by MAX is doubted for a user whom it has accepted before. MAX refuses everybody while its
        /// OAuth server is down, and for a minute afterwards.
        doubt_ms: u64 = 61000 in 1..=DAY_MS,
    }

    /// Sessions whose clients may come back after their connection was lost: Socket.IO's connection state recovery.
    [recovery] Recovery {
        /// How long a session is kept after its connection was lost. Others hear `left` only then; 0 keeps no sessions,
        /// and clients get no offsets with their events.
        window_ms: u64 = 120000 in 0..=DAY_MS,
        /// How long a client that comes back waits for the node or the thread of its session, for each of three steps.
        claim_ms: u64 = 3000 in 1..=60_000,
        /// Sessions that are kept at the same time. Further ones end when their connection is lost.
        sessions_max: usize = 50000 in 0..=100_000_000,
        /// Events kept of each session that were written and may not have arrived. A client that has missed more is not
        /// recovered.
        events_max: usize = 128 in 1..=1_000_000,
        /// Bytes of these events.
        bytes_max: usize = 32768 in 1024..=GIB,
        /// Whether only those clients can come back that ask for it: `auth: { recovery: true }`.
        asked_only: bool = false in Booleans,
    }

    /// The queue of messages to one client.
    [outbox] Outbox {
        /// Messages. Has to be above the sum of `mailbox.conversation` and `conversation.presence_members_max`, because
        /// a conversation may send as many before a reader has its turn.
        messages_max: usize = 4096 in 1..=100_000_000,
        /// Bytes.
        bytes_max: usize = 1048576 in 65_536..=GIB,
        /// What becomes of news that does not fit. "fold": the updates of a conversation become one with their number,
        /// its `joined` and `left` one `people`, and both are sent when less than half of the outbox waits. "close":
        /// the client is closed. "drop": the news is left out, and the client is not told.
        policy: OutboxPolicy = "fold" in OUTBOX_POLICIES,
        /// How long a client may miss news before it is closed, unless it has caught up.
        grace_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// One conversation.
    [conversation] Conversation {
        /// Most listening users with whom `joined` and `left` are sent and `people` has names; 0 is no limit.
        presence_members_max: usize = 1000 in 0..=10_000_000,
        /// Messages that a conversation sends before other tasks on its thread run.
        burst_max: usize = 32 in 1..=1_000_000,
        /// How long a conversation outlives its last member.
        linger_ms: u64 = 1000 in 0..=DAY_MS,
    }

    /// Several nodes as one service, over Redis. Without `cluster.url` this process is alone.
    [cluster] Cluster {
        /// URLs of Redis or Valkey. Each of several is independent and has a part of the conversations. A Redis Cluster
        /// stands alone: redis+cluster:// with some of its members.
        url: Vec<RedisUrl> = [] in RedisUrls,
        /// File with the password of Redis, read at each connect. It goes before the password of a URL.
        password_file: Option<PathBuf> = none in Optional(FILES),
        /// File with the password of the Sentinels.
        sentinel_password_file: Option<PathBuf> = none in Optional(FILES),
        /// PEM file of certificate authorities for `rediss://`; none takes the system's.
        ca_file: Option<PathBuf> = none in Optional(FILES),
        /// PEM file with the certificate of this client. Needs `cluster.key_file`.
        certificate_file: Option<PathBuf> = none in Optional(FILES),
        /// PEM file with the key of this client.
        key_file: Option<PathBuf> = none in Optional(FILES),
        /// Beginning of all channels: the option `key` of `@socket.io/redis-adapter`. It separates installations,
        /// which the numbers of databases do not.
        prefix: String = "socket.io" in PREFIXES,
        /// Protocol on the channels: "classic" is that of `createAdapter`, "sharded" that of `createShardedAdapter`,
        /// for Redis 7 or later. All nodes have the same.
        dialect: Dialect = "classic" in DIALECTS,
        /// Name of this node for people; none takes the name of the machine.
        node: Option<String> = none in Optional(NODE_NAMES),
        /// Whether a node without Redis is not ready, so that load balancers send it no clients.
        required: bool = false in Booleans,
        /// Events of Node servers and emitters that members hear as `update`.
        events: Vec<String> = ["update"] in EventNames,
        /// Whether these events reach all conversations when they are sent to the whole namespace.
        namespace_wide: bool = false in Booleans,
        /// Channel of python-socketio, usually "socketio"; none listens to no Python server.
        python_channel: Option<String> = none in Optional(CHANNELS),
        /// Longest wait of a join for the channels of its conversations.
        attach_ms: u64 = 200 in 0..=60_000,
        /// How long a conversation waits for what other nodes know before it says who is there.
        settle_ms: u64 = 100 in 0..=60_000,
        /// Time between two heartbeats of a node.
        heartbeat_ms: u64 = 2000 in 100..=60_000,
        /// Silence of another node after which its users have left. Has to be above twice `cluster.heartbeat_ms`.
        silent_ms: u64 = 10000 in 1000..=DAY_MS,
        /// How long the users of a node that stops stay visible, because their clients come back to another node.
        bye_grace_ms: u64 = 10000 in 0..=DAY_MS,
        /// Time without Redis after which clients are told `missed`.
        tell_after_ms: u64 = 2000 in 0..=DAY_MS,
        /// Time over which clients are told that Redis is back, so that they do not all ask MAX at once.
        missed_spread_ms: u64 = 2000 in 0..=DAY_MS,
        /// Messages that wait to be published.
        queue_messages_max: usize = 8192 in 1..=10_000_000,
        /// Bytes of these messages.
        queue_bytes_max: usize = 8388608 in 65_536..=GIB,
        /// Messages that are published and not yet confirmed.
        inflight_max: usize = 4096 in 1..=1_000_000,
        /// Channels in one command.
        subscribe_batch: usize = 512 in 1..=10_000,
        /// Channels that are asked for and not yet confirmed.
        subscribe_window: usize = 2048 in 1..=1_000_000,
        /// Conversations per second that tell the others who is there after Redis was away.
        resync_per_second_max: u32 = 5000 in 1..=10_000_000,
        /// Largest message of another node or server.
        message_bytes_max: usize = 65536 in 1024..=GIB,
        /// Longest wait before Redis is tried again.
        reconnect_ms_max: u64 = 5000 in 100..=DAY_MS,
    }

    /// What MAX announces in its RabbitMQ. Without `feed.url` nothing is heard there.
    [feed] Feed {
        /// URL of MAX's RabbitMQ.
        url: Option<AmqpUrl> = none in Optional(AMQP_URLS),
        /// File with the password of RabbitMQ, read at each connect. It goes before the password of the URL.
        password_file: Option<PathBuf> = none in Optional(FILES),
        /// PEM file of certificate authorities for `amqps://`; none takes the system's.
        ca_file: Option<PathBuf> = none in Optional(FILES),
        /// Release of MAX: "4.x" and "5.x" announce in the exchange `conversations`, "3.x" has one for each
        /// conversation.
        layout: FeedLayout = "5.x" in FEED_LAYOUTS,
        /// Users per second whose memberships are asked for because RabbitMQ tells of a change; 0 asks for none.
        refreshes_per_second_max: u32 = 5 in 0..=100_000,
        /// Largest message. A larger one is passed over while it comes.
        message_bytes_max: usize = 65536 in 1024..=16_777_216,
        /// Time without RabbitMQ after which clients are told `missed`.
        tell_after_ms: u64 = 2000 in 0..=DAY_MS,
        /// Time over which clients are told that RabbitMQ is back, so that they do not all ask MAX at once.
        missed_spread_ms: u64 = 2000 in 0..=DAY_MS,
        /// Longest wait before RabbitMQ is tried again.
        reconnect_ms_max: u64 = 5000 in 100..=DAY_MS,
    }

    /// Bounds on clients and on what they send. An IPv6 address counts as its whole /64 network.
    [limits] Limits {
        /// Longest conversation id, timestamp or messageID.
        id_bytes_max: usize = 256 in 1..=65_536,
        /// Open connections; 0 takes what the limit on open files leaves after a reserve.
        connections_max: usize = 0 in 0..=100_000_000,
        /// Open connections from one address, which may be the address of a proxy; 0 is no limit.
        connections_per_address_max: usize = 0 in 0..=100_000_000,
        /// Sessions; 0 is no limit.
        sessions_max: usize = 200000 in 0..=100_000_000,
        /// Sessions of one address; 0 is no limit.
        sessions_per_address_max: usize = 100000 in 0..=100_000_000,
        /// Sessions that have not joined yet; 0 is no limit.
        unjoined_max: usize = 50000 in 0..=100_000_000,
        /// Sessions of one address that have not joined yet; 0 is no limit.
        unjoined_per_address_max: usize = 25000 in 0..=100_000_000,
        /// Handshakes per second on average; 0 is no limit.
        handshakes_per_second_max: u64 = 10000 in 0..=100_000_000,
        /// Handshakes at once.
        handshakes_burst_max: u64 = 50000 in 1..=100_000_000,
        /// Handshakes of one address per second on average; 0 is no limit.
        handshakes_per_address_per_second_max: u64 = 5000 in 0..=100_000_000,
        /// Handshakes of one address at once.
        handshakes_per_address_burst_max: u64 = 25000 in 1..=100_000_000,
        /// Memory of the process. From 85 % of it on, new sessions are refused, and at most 64 KiB of incomplete input
        /// and unread output are kept for each client; from 90 % on, at most 4 KiB. From 93 % on, new connections are
        /// refused. 0 takes the limit of the process's control group, if there is one.
        memory_bytes_max: u64 = 0 in 0..=1_099_511_627_776,
        /// Packets of one session per second, including frames without a packet and reads of its socket. Faster packets
        /// wait; 0 is no limit.
        packets_per_second_max: u64 = 20000 in 0..=1_000_000_000,
        /// Packets of one session at once.
        packets_burst_max: u64 = 50000 in 1..=1_000_000_000,
        /// Bytes of one session per second. Faster bytes wait; 0 is no limit.
        bytes_per_second_max: u64 = 8388608 in 0..=1_000_000_000_000,
        /// Bytes of one session at once.
        bytes_burst_max: u64 = 16777216 in 1..=1_000_000_000_000,
        /// How long a session may send faster than these limits without a pause before it is closed.
        flood_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// The listener for operators.
    [admin] Admin {
        /// Address that serves the dashboard, `/metrics`, `/health` and the API at `/api/v1/`; none turns them off. An
        /// address that other machines can reach needs `admin.token`.
        listen: Option<SocketAddr> = "127.0.0.1:6546" in Optional(ADDRESSES),
        /// Key of operators, for `Authorization: Bearer`. Without it, everybody on this machine is an operator.
        token: Option<Token> = none in Optional(TOKENS),
        /// Key of a back end, which may announce news by the API and do nothing else.
        announce_token: Option<Token> = none in Optional(TOKENS),
    }

    /// The log.
    [log] Log {
        /// Filter in the form of env_logger, such as "info" or "warn,maxtalk=debug".
        filter: String = "info,actix_http::h1=off" in LOG_FILTERS,
        /// Form of the lines: text, which is colored on a terminal, or an object of JSON for each.
        format: LogFormat = "text" in LOG_FORMATS,
        /// Refusals logged per second; the others are counted.
        refusals_per_second_max: u32 = 10 in 0..=1_000_000,
        /// Lines that may wait to be written; more are lost and counted.
        lines_max: usize = 8192 in 1..=1_000_000,
    }
}

impl Config {
    /// Lays the `sources` over the defaults and checks everything. Reads no file and no environment.
    ///
    /// # Errors
    /// All problems at once: text that is not TOML, unknown keys, and values that are not allowed. If there are none of
    /// these, the combinations of settings that cannot work.
    pub fn load(sources: Sources) -> Result<Self, Error> {
        let config = Self::load_of_running(sources)?;
        let problems = config.impossible_combinations();
        if problems.is_empty() { Ok(config) } else { Err(Error(problems)) }
    }

    /// Loads what is known of a server that runs. Its flags are not, so the rules between settings are not checked.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) but for combinations.
    pub fn load_of_running(sources: Sources) -> Result<Self, Error> {
        Self::read(Reader::new(sources)).map_err(Error)
    }

    /// Problems that stop nothing: environment variables that begin with our prefix and name no setting.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// The keys of all settings, such as `server.listen`, in the order of the file.
pub fn keys() -> impl Iterator<Item = &'static str> {
    Setting::all().map(|setting| setting.key)
}

/// The key that was probably meant by an unknown one.
pub fn nearest_key(key: &str) -> Option<&'static str> {
    Setting::nearest(key).or_else(|| Setting::of_any_section(key)).map(|setting| setting.key)
}

impl Default for Config {
    fn default() -> Self {
        // The defaults come from this file, not from outside: a wrong one fails every test.
        Self::load(Sources::default()).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

#[cfg(test)]
mod tests;
