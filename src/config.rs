//! Every setting and every bound of maxtalk, declared once: what it means, its unit (in the name), its default and
//! what is allowed. The typed structs, the annotated file of `maxtalk config`, the names of the environment variables
//! and the messages of a refused start all come from the one table in this file.
//!
//! A value comes from the highest layer that gives it: flags over environment over file over defaults. The defaults are
//! a file like the operator's, the very text that `maxtalk config` prints. Values of lower layers are checked all the
//! same, so that no bad one waits for the day its cover is taken away.
//!
//! * `allowed`: the sets of values that a setting may be in.
//! * `layers`: file, environment and flags as raw values, each with its source.
//! * `variables`: what the names of environment variables mean.
//! * `filter`: what is wrong with a filter of the log.
//! * `near`: which known name an unknown one was meant to be.
//! * `problem`: what can be wrong, as values.

mod allowed;
mod filter;
mod layers;
mod near;
mod problem;
mod raw;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::LazyLock;

use allowed::{
    ADDRESSES, Allowed, BASE_URLS, Booleans, Decimals, ENDPOINT_PATHS, FILES, GENERATIONS, HEADER_VALUES, LOG_FILTERS,
    NAMESPACES, NETWORKS, Optional, TOKENS, USERNAMES,
};
use ipnet::IpNet;
pub use layers::{File, Flag, Sources};
use layers::{Read, Reader};
pub use problem::{Error, Problem};
pub use raw::Source;
use url::{Host, Url};

/// A day is longer than any wait of a server should be.
const DAY_MS: u64 = 86_400_000;
const GIB: usize = 1 << 30;

/// What stands in the table where a setting has no default.
const NONE: &str = "none";

macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        [$section:ident] $Section:ident {$(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty = $default:tt in $allowed:expr,
        )+}
    )+) => {
        /// The whole configuration, checked. Two are equal when they say the same, wherever it came from.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $about])+ pub $section: $Section,)+
            origins: Origins,
            warnings: Vec<Problem>,
        }

        impl Config {
            fn read(mut reader: Reader) -> Result<Self, Vec<Problem>> {
                $(let $section = $Section::read(&mut reader);)+
                let Read { origins, problems, warnings } = reader.finish();
                match ($($section,)+) {
                    ($(Some($section),)+) if problems.is_empty() => Ok(Self { $($section,)+ origins, warnings }),
                    _ => Err(problems),
                }
            }
        }

        impl PartialEq for Config {
            fn eq(&self, other: &Self) -> bool {
                $(self.$section == other.$section)&&+
            }
        }

        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {$(
                $(#[doc = $doc])+
                #[doc = concat!(" Defaults to `", stringify!($default), "`.")]
                pub $key: $type,
            )+}

            impl $Section {
                fn read(reader: &mut Reader) -> Option<Self> {
                    $(let $key: Option<$type> =
                        reader.value(concat!(stringify!($section), ".", stringify!($key)), &$allowed);)+
                    Some(Self { $($key: $key?,)+ })
                }
            }
        )+

        static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| vec![$(Section {
            name: stringify!($section),
            about: &[$($about),+],
            settings: vec![$(Setting {
                key: concat!(stringify!($section), ".", stringify!($key)),
                name: stringify!($key),
                about: &[$($doc),+],
                default: stringify!($default),
                allowed: Allowed::<$type>::form(&$allowed),
            },)+],
        },)+]);
    };
}

settings! {
    /// The listener and the process.
    [server] Server {
        /// Where clients connect.
        listen: SocketAddr = "127.0.0.1:6545" in ADDRESSES,
        /// Worker threads; 0 takes one per core.
        workers: usize = 0 in 0..=1024,
        /// Longest wait for connections to end at a stop.
        stop_ms: u64 = 5000 in 1..=DAY_MS,
        /// The kernel's send buffer of each WebSocket connection: it comes on top of the outbox for a reader that is
        /// too slow. The kernel doubles the value; 0 leaves it to the kernel, which may take megabytes.
        send_buffer_bytes: usize = 65536 in 0..=GIB / 2,
        /// Longest time for the head and body of a request to arrive.
        request_timeout_ms: u64 = 10000 in 1000..=DAY_MS,
        /// How long an idle HTTP connection is kept.
        keep_alive_ms: u64 = 75000 in 1000..=DAY_MS,
        /// How long a client may read nothing of what it is sent. Its connection ends then.
        write_timeout_ms: u64 = 20000 in 1..=DAY_MS,
        /// Largest head of a request: the request line and its headers, of which there may be 100.
        head_bytes_max: usize = 32768 in 1024..=1_048_576,
        /// Proxies in front of maxtalk: what they say in `X-Forwarded-For`, or where there is none in `Forwarded`, of
        /// where a client is, is believed. Addresses and networks, such as 10.0.0.0/8.
        trusted_proxies: Vec<IpNet> = [] in NETWORKS,
    }

    /// Engine.IO and Socket.IO.
    [protocol] Protocol {
        /// The path of the endpoint. It is served with and without its last slash.
        path: String = "/socket.io/" in ENDPOINT_PATHS,
        /// The namespace of the written protocol.
        namespace: String = "/max" in NAMESPACES,
        /// What clients may speak: "eio4" is Engine.IO 4 (Socket.IO 3 and 4), "eio3" is Engine.IO 3 (Socket.IO 1 and
        /// 2), "0.9" is Socket.IO 0.7 to 0.9.
        generations: Vec<&'static str> = ["eio4", "eio3", "0.9"] in GENERATIONS,
        /// Whether handshakes and polls may be answered by scripts (JSONP): for pages of other origins in browsers
        /// without CORS, and for clients of 0.8, whose every handshake from another origin is one.
        jsonp: bool = true in Booleans,
        /// Time between two heartbeats.
        ping_interval_ms: u64 = 25000 in 1..=DAY_MS,
        /// How long the answer to a heartbeat may take.
        ping_timeout_ms: u64 = 20000 in 1..=DAY_MS,
        /// Largest message or POST that a client may send: `maxPayload`.
        payload_bytes_max: usize = 1000000 in 1..=GIB,
        /// How long an upgrade from polling to WebSocket may take.
        upgrade_timeout_ms: u64 = 10000 in 1..=DAY_MS,
        /// How long a client may stay connected without joining a namespace.
        connect_timeout_ms: u64 = 45000 in 1..=DAY_MS,
        /// How long a closed polling session waits for a poll that learns of it.
        close_timeout_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// Clients of Socket.IO 0.7 to 0.9.
    [legacy] Legacy {
        /// Time between two heartbeats over a WebSocket.
        heartbeat_interval_ms: u64 = 25000 in 1..=DAY_MS,
        /// How long the answer to a heartbeat may take. Clients are told, in whole seconds.
        heartbeat_timeout_ms: u64 = 60000 in 1..=DAY_MS,
        /// How long a session lives from one poll to the next. Clients are told, in whole seconds, and leave a server
        /// that is silent for so long.
        close_timeout_ms: u64 = 60000 in 1..=DAY_MS,
        /// Longest wait of a poll.
        polling_duration_ms: u64 = 20000 in 1..=DAY_MS,
        /// How long a session waits for its first transport.
        handshake_timeout_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// How MAX is asked.
    [max] Max {
        /// Base URL of MAX, with its path and without a slash at the end; none starts the embedded demo MAX.
        url: Option<String> = none in Optional(BASE_URLS),
        /// PEM file of certificate authorities to trust beside the system's.
        ca_file: Option<PathBuf> = none in Optional(FILES),
        /// Whether a join without a token is answered with what the service account sees: then anybody may claim to be
        /// anybody. Needs `max.url`, `max.service_username` and `max.service_token`.
        tokenless_joins: bool = false in Booleans,
        /// The service account, a MAX Manager.
        service_username: Option<String> = none in Optional(USERNAMES),
        /// The token of the service account.
        service_token: Option<Secret> = none in Optional(TOKENS),
        /// `X-Oauth-Scope` where the client names none.
        scope: String = "widgetcli" in HEADER_VALUES,
        /// Whether MAX may be at a link-local address such as 169.254.169.254, where clouds give away secrets.
        allow_link_local: bool = false in Booleans,
        /// Most calls to MAX at the same time; there are fewer while it is slow. One process of MAX bears about 8.
        inflight_max: usize = 8 in 1..=65_536,
        /// Joins that may wait for their call.
        waiting_max: usize = 20000 in 1..=10_000_000,
        /// Longest wait of a join for its call.
        wait_ms: u64 = 10000 in 1..=DAY_MS,
        /// Longest time for the calls of one join together, heads and bodies.
        timeout_ms: u64 = 5000 in 1..=DAY_MS,
        /// Largest answer of MAX.
        body_bytes_max: usize = 4194304 in 1..=GIB,
        /// Most conversations of one user.
        conversations_max: usize = 1000 in 1..=1_000_000,
    }

    /// A crowd in the embedded demo MAX, for load tests.
    [demo] Demo {
        /// People beside the demo's own: users u0, u1 and so on, each in one conversation, to which they listen and
        /// nothing more. The token of each is the username.
        people: usize = 0 in 0..=10_000_000,
        /// Members of each of their conversations c0, c1 and so on, which take the people in their order; on average
        /// where `demo.zipf` is set.
        members: usize = 10 in 2..=10_000_000,
        /// Gives the k-th of these conversations members in proportion to 1/k to this power; with none, all as many.
        zipf: Option<f64> = none in Optional(Decimals(0.0..=10.0)),
    }

    /// The bounds of the actors' mailboxes, in messages.
    [mailbox] Mailbox {
        /// Joins under way: those that wait for the registry, and those that wait for MAX and for conversations.
        registry: usize = 20000 in 1..=10_000_000,
        /// Talks, asks and joins that may wait for one conversation.
        conversation: usize = 2048 in 1..=10_000_000,
        /// Requests of the HTTP edge that may wait for one session.
        session: usize = 16 in 1..=1_000_000,
    }

    /// One connected client.
    [session] Session {
        /// Events that may wait for a join under way, and asks that may be under way.
        pending_max: usize = 64 in 1..=1_000_000,
        /// Longest time for conversations to take a join or to answer an ask.
        answer_ms: u64 = 5000 in 1..=DAY_MS,
        /// Talks that may wait in conversations before the session is not read any further.
        talks_max: usize = 64 in 1..=1_000_000,
        /// Sessions of one user; 0 is no limit.
        per_user_max: usize = 1000 in 0..=10_000_000,
        /// Events in one second; 0 is no limit.
        events_per_second_max: u64 = 2000 in 0..=1_000_000_000,
        /// Events at once.
        events_burst_max: u64 = 5000 in 1..=1_000_000_000,
        /// Bytes of events in one second; 0 is no limit.
        bytes_per_second_max: u64 = 2000000 in 0..=1_000_000_000_000,
        /// Bytes of events at once. A larger event is taken after a rest.
        bytes_burst_max: u64 = 10000000 in 1..=1_000_000_000_000,
        /// How long MAX may deny a user whom it has accepted before it is believed: it does so while its OAuth server
        /// is down, and for a minute afterwards.
        doubt_ms: u64 = 61000 in 1..=DAY_MS,
    }

    /// What may wait to be written to one client.
    [outbox] Outbox {
        /// Messages: more than `mailbox.conversation` and `conversation.presence_members_max` together, because a
        /// conversation may say so much before a reader has its turn.
        messages_max: usize = 4096 in 1..=100_000_000,
        /// Bytes.
        bytes_max: usize = 1048576 in 65_536..=GIB,
    }

    /// One conversation.
    [conversation] Conversation {
        /// `joined` and `left` are sent, and `people` names people, up to this many users listening; 0 is no limit.
        presence_members_max: usize = 1000 in 0..=10_000_000,
        /// Messages in a row, broadcasts or others, before a conversation lets its worker go.
        burst_max: usize = 32 in 1..=1_000_000,
        /// How long a conversation outlives its last member.
        linger_ms: u64 = 1000 in 0..=DAY_MS,
    }

    /// Bounds on clients, and on what they send. An address of IPv6 stands for its whole /64.
    [limits] Limits {
        /// Longest conversation id, timestamp or messageID.
        id_bytes_max: usize = 256 in 1..=65_536,
        /// Open connections; 0 takes what the limit on open files leaves beside a reserve.
        connections_max: usize = 0 in 0..=100_000_000,
        /// Open connections from one address, which may be that of a proxy; 0 is no limit.
        connections_per_address_max: usize = 0 in 0..=100_000_000,
        /// Sessions; 0 is no limit.
        sessions_max: usize = 200000 in 0..=100_000_000,
        /// Sessions of one address; 0 is no limit.
        sessions_per_address_max: usize = 100000 in 0..=100_000_000,
        /// Sessions that have not joined yet; 0 is no limit.
        unjoined_max: usize = 50000 in 0..=100_000_000,
        /// Sessions of one address that have not joined yet; 0 is no limit.
        unjoined_per_address_max: usize = 25000 in 0..=100_000_000,
        /// Handshakes in a second, on the average; 0 is no limit.
        handshakes_per_second_max: u64 = 10000 in 0..=100_000_000,
        /// Handshakes at once.
        handshakes_burst_max: u64 = 50000 in 1..=100_000_000,
        /// Handshakes of one address in a second, on the average; 0 is no limit.
        handshakes_per_address_per_second_max: u64 = 5000 in 0..=100_000_000,
        /// Handshakes of one address at once.
        handshakes_per_address_burst_max: u64 = 25000 in 1..=100_000_000,
        /// Memory of the process. From 85 % of it on there are no new sessions, and at most 64 KiB are kept for a
        /// client of what it sends or does not read; from 90 % on 4 KiB; from 93 % on there are no new connections. 0
        /// takes the limit of its control group, if there is one.
        memory_bytes_max: u64 = 0 in 0..=1_099_511_627_776,
        /// Packets of one session in a second, frames without a packet and reads of its socket included; what comes
        /// faster waits. 0 is no limit.
        packets_per_second_max: u64 = 20000 in 0..=1_000_000_000,
        /// Packets of one session at once.
        packets_burst_max: u64 = 50000 in 1..=1_000_000_000,
        /// Bytes of one session in a second; what comes faster waits. 0 is no limit.
        bytes_per_second_max: u64 = 8388608 in 0..=1_000_000_000_000,
        /// Bytes of one session at once.
        bytes_burst_max: u64 = 16777216 in 1..=1_000_000_000_000,
        /// How long a session may send faster than that without a rest before it is closed.
        flood_ms: u64 = 30000 in 1..=DAY_MS,
    }

    /// The operator's listener.
    [metrics] Metrics {
        /// Where `/metrics` and `/health` are served; none is off.
        listen: Option<SocketAddr> = none in Optional(ADDRESSES),
    }

    /// The log.
    [log] Log {
        /// What is logged, in the form of env_logger, such as "info" or "warn,maxtalk=debug".
        filter: String = "info,actix_http::h1=off" in LOG_FILTERS,
        /// Refusals logged in one second; the others are counted.
        refusals_per_second_max: u32 = 10 in 0..=1_000_000,
        /// Lines that may wait to be written; more are lost and counted.
        lines_max: usize = 8192 in 1..=1_000_000,
    }
}

impl Config {
    /// Lays the `sources` over the defaults and checks all of it. Reads nothing else: no file, no environment.
    ///
    /// # Errors
    /// Everything that is wrong, at once: text that is not TOML, unknown keys, values outside of what is allowed; where
    /// none of that is found, combinations of settings that cannot work.
    pub fn load(sources: Sources) -> Result<Self, Error> {
        let config = Self::read(Reader::new(sources)).map_err(Error)?;
        let problems = config.impossible_combinations();
        if problems.is_empty() { Ok(config) } else { Err(Error(problems)) }
    }

    /// The setting `key` as in `server.listen = "127.0.0.1:6545" (default)`, for messages. Secrets show as `***`.
    pub fn describe(&self, key: &str) -> String {
        self.origins.0.get(key).map_or_else(|| key.to_owned(), |origin| format!("{key} = {origin}"))
    }

    /// Each setting that does not come from the defaults, [described](Self::describe), in the order of the alphabet.
    pub fn changed(&self) -> impl Iterator<Item = String> {
        let changed = self.origins.0.iter().filter(|(_, origin)| origin.source != Source::Default);
        changed.map(|(key, _)| self.describe(key))
    }

    /// What is odd and stops nothing: environment variables that begin like ours and name no setting.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    fn impossible_combinations(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |possible: bool, keys: &[&str], why: String| {
            if !possible {
                let settings = keys.iter().map(|key| self.describe(key)).collect();
                problems.push(Problem::Combination { settings, why });
            }
        };

        let needed = self.mailbox.conversation + self.conversation.presence_members_max + 1;
        check(
            self.outbox.messages_max >= needed,
            &["outbox.messages_max", "mailbox.conversation", "conversation.presence_members_max"],
            format!("the first must be above the sum of the others; allowed here: at least {needed}"),
        );

        let legacy = &self.legacy;
        check(
            legacy.heartbeat_interval_ms < legacy.heartbeat_timeout_ms,
            &["legacy.heartbeat_timeout_ms", "legacy.heartbeat_interval_ms"],
            "the first must be above the second, or clients leave between two heartbeats".to_owned(),
        );
        let longest = legacy.heartbeat_interval_ms.max(legacy.polling_duration_ms);
        check(
            longest < legacy.close_timeout_ms,
            &["legacy.close_timeout_ms", "legacy.heartbeat_interval_ms", "legacy.polling_duration_ms"],
            format!("the first must be above both others, or clients leave in between; allowed here: above {longest}"),
        );

        let max = &self.max;
        let account = max.service_username.is_some() && max.service_token.is_some();
        check(
            !max.tokenless_joins || (account && max.url.is_some()),
            &["max.tokenless_joins", "max.url", "max.service_username", "max.service_token"],
            "joins without a token need all of the others".to_owned(),
        );
        check(
            max.allow_link_local || !max.url.as_deref().is_some_and(leads_to_link_local),
            &["max.url", "max.allow_link_local"],
            "a link-local address is asked only where the second is true".to_owned(),
        );
        check(
            max.service_username.is_some() == max.service_token.is_some(),
            &["max.service_username", "max.service_token"],
            "one needs the other".to_owned(),
        );

        check(
            self.demo.people == 0 || max.url.is_none(),
            &["demo.people", "max.url"],
            "there is no demo MAX where another one is asked".to_owned(),
        );

        check(
            self.metrics.listen.is_none_or(|metrics| !overlap(metrics, self.server.listen)),
            &["metrics.listen", "server.listen"],
            "the two listeners must differ".to_owned(),
        );
        problems
    }
}

impl Default for Config {
    fn default() -> Self {
        // The defaults are text of this file and nothing from outside: a wrong one fails every test.
        Self::load(Sources::default()).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

/// All settings with their defaults and what is allowed, as the TOML file that `maxtalk config` prints. To load it is
/// to load nothing; settings without a default stand in it as comments.
pub fn annotated_defaults() -> String {
    let mut text = String::from(
        "# Every setting of maxtalk with its default. A flag is above the environment, that above a file, that above\n\
         # these. The setting server.listen is also the environment variable MAXTALK_SERVER__LISTEN, with two\n\
         # underscores, and so are all others. \"maxtalk check\" says whether a configuration is valid.\n",
    );
    let mut write = |start: &str, lines: &[&str]| {
        text += start;
        lines.iter().for_each(|line| text += &format!("#{line}\n"));
    };
    for section in SECTIONS.iter() {
        write("\n\n", section.about);
        write(&format!("[{}]\n", section.name), &[]);
        for setting in &section.settings {
            write("\n", setting.about);
            write(&format!("# Allowed: {}.\n", setting.allowed), &[]);
            write(&setting.assignment(), &[]);
        }
    }
    text
}

/// Text that is shown to nobody: it prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for where it has to go.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A table of the file.
struct Section {
    name: &'static str,
    about: &'static [&'static str],
    settings: Vec<Setting>,
}

/// A setting as text: what the file, the environment and the messages know of it.
struct Setting {
    key: &'static str,
    name: &'static str,
    about: &'static [&'static str],
    default: &'static str,
    allowed: String,
}

impl Setting {
    fn all() -> impl Iterator<Item = &'static Self> {
        SECTIONS.iter().flat_map(|section| &section.settings)
    }

    /// The environment variable of `server.listen` is `MAXTALK_SERVER__LISTEN`.
    fn variable(&self) -> String {
        format!("{}{}", variables::PREFIX, self.key.replacen('.', "__", 1).to_uppercase())
    }

    fn assignment(&self) -> String {
        let Self { name, default, .. } = self;
        if *default == NONE { format!("# {name} = \"\"\n") } else { format!("{name} = {default}\n") }
    }
}

/// What is known of each setting beside its value.
#[derive(Clone, Debug, Default)]
struct Origins(BTreeMap<&'static str, Origin>);

/// A value as it may be shown, and where it came from.
#[derive(Clone, Debug)]
struct Origin {
    shown: String,
    source: Source,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.shown, self.source)
    }
}

/// Whether the kernel would refuse the second of two listeners. An unspecified address takes its port on all others,
/// and that of IPv6 the addresses of IPv4 too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    let same_place = one.ip() == other.ip() || covers(one, other) || covers(other, one);
    one.port() == other.port() && one.port() != 0 && same_place
}

/// Whether an address is one of those that are for this network segment alone, also in an IPv6 address that stands for
/// one of IPv4.
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => match ip.segments() {
            // Mapped (RFC 4291, 2.5.5.2), compatible (2.5.5.1), and translated by NAT64 (RFC 6052).
            [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).is_link_local()
            }
            _ => ip.is_unicast_link_local(),
        },
    }
}

fn leads_to_link_local(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Ipv4(ip)) => is_link_local(ip.into()),
        Some(Host::Ipv6(ip)) => is_link_local(ip.into()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
