//! What is wrong with a Redis, in words that say what to do.

use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use crate::cluster::address::Host;
use crate::cluster::settings::Settings;

/// The reason why a connection could not be made or is of no use.
pub(crate) type Fault = Arc<str>;

/// A slot of a Redis Cluster that another server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The slot.
    pub slot: u16,
    /// The server that has it, as far as it was named.
    pub host: Option<Host>,
}

impl Moved {
    /// Reads an error. `None`: it is another one.
    fn of(error: &RedisError) -> Option<Self> {
        let (place, slot) = error.redirect_node().filter(|_| error.code() == Some("MOVED"))?;
        let host = place
            .rsplit_once(':')
            .filter(|(name, _)| !name.is_empty() && *name != "?")
            .and_then(|(name, port)| Some(Host { name: name.into(), port: port.parse().ok()? }));
        Some(Self { slot, host })
    }

    /// Returns what is wrong where no slot should move.
    pub(crate) fn fault(&self) -> Fault {
        let owner = self.host.as_ref().map_or_else(|| "another server".to_owned(), Host::to_string);
        format!("{owner} has the slot {} now: the URL of a Redis Cluster begins with redis+cluster://", self.slot)
            .into()
    }
}

/// The reason why a server has not done what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another server would do it.
    Moved(Moved),
    /// The connection is of no use.
    Fault(Fault),
}

impl Refusal {
    /// Reads the error of a command.
    pub(super) fn of(command: &str, patterns: &Patterns, error: &RedisError) -> Self {
        Moved::of(error).map_or_else(|| Self::Fault(self::command(command, patterns, error)), Self::Moved)
    }

    /// Returns it as a fault.
    pub(crate) fn fault(self) -> Fault {
        match self {
            Self::Moved(moved) => moved.fault(),
            Self::Fault(fault) => fault,
        }
    }
}

/// The hint about a server that wants a certificate.
const NO_CERTIFICATE: &str =
    ": it wants a certificate of the client: set cluster.certificate_file and cluster.key_file";

/// The characters that an ACL reads as a pattern unless a backslash is before them.
const OF_PATTERNS: [char; 5] = ['*', '?', '[', ']', '\\'];

/// The channels of the bus, as patterns for an ACL.
#[derive(Clone, Debug)]
pub(crate) struct Patterns(String);

impl Patterns {
    /// Returns the patterns that these settings need.
    pub(crate) fn of(settings: &Settings) -> Self {
        let Settings { prefix, python_channel, .. } = settings;
        let mut namespace = String::new();
        for letter in settings.namespace.chars() {
            if OF_PATTERNS.contains(&letter) {
                namespace.push('\\');
            }
            namespace.push(letter);
        }
        let python = python_channel.as_ref().map(|python| format!(" &{python}")).unwrap_or_default();
        Self(format!("&{prefix}#{namespace}#* &{prefix}-nodes#{namespace}#*{python}"))
    }
}

/// Returns why the encryption could not begin.
pub(super) fn tls(host: &Host, error: &io::Error) -> Fault {
    let text = error.to_string();
    let hint = if text.contains("UnknownIssuer") {
        ": set cluster.ca_file to the certificate of its authority"
    } else if text.contains("NotValidForName") || text.contains("not valid for name") {
        ": cluster.url has to have the name that the certificate has"
    } else if text.contains("CertificateRequired") {
        NO_CERTIFICATE
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        ": it does not speak TLS on this port: is rediss:// right?"
    } else {
        ""
    };
    format!("TLS with {host} has failed: {text}{hint}").into()
}

/// Returns why a command has failed.
pub(super) fn command(command: &str, patterns: &Patterns, error: &RedisError) -> Fault {
    if error.is_timeout() {
        return format!("{command} was not answered within 2 s").into();
    }
    if error.is_io_error() || error.is_connection_dropped() || error.kind() == ErrorKind::Parse {
        let text = error.to_string();
        let hint = match command {
            // With TLS 1.3 the client learns of it only here.
            "HELLO" if text.contains("CertificateRequired") => NO_CERTIFICATE,
            "HELLO" => ": does the server want TLS, by rediss://?",
            _ => "",
        };
        return format!("the connection broke at {command}: {text}{hint}").into();
    }
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    server(command, patterns, &text, error.kind() == ErrorKind::RESP3NotSupported)
}

/// Returns what an error text of the server to a command means.
pub(super) fn server(command: &str, Patterns(patterns): &Patterns, text: &str, is_old: bool) -> Fault {
    let lower = text.to_lowercase();
    let has = |part: &str| lower.contains(part);
    if is_old || has("noproto") || (has("unknown command") && has("hello")) {
        return "this server is older than Redis 6 and knows no RESP3: Redis 6 or later, or Valkey, is needed".into();
    }
    if has("unknown command") && command.starts_with('S') {
        return format!(
            "this server knows no {command}: Redis 7 or later, or Valkey, is needed for cluster.dialect = \"sharded\""
        )
        .into();
    }
    if has("wrongpass") || has("invalid password") {
        return format!("the user or the password is wrong: {text}").into();
    }
    if has("noauth") {
        // Sentinels are sent no name.
        return match command {
            "SENTINEL" => "it wants a password: set cluster.sentinel_password_file".into(),
            _ => "the server wants a password: set cluster.password_file, and the user in cluster.url if it has a name"
                .into(),
        };
    }
    if has("noperm") {
        let right =
            if has("channel") { patterns.clone() } else { format!("+{}", command.to_lowercase().replace(' ', "|")) };
        return format!("the user of Redis lacks a right: {text}: add it by ACL SETUSER <user> {right}").into();
    }
    if has("cluster support disabled") {
        return "this server is no member of a Redis Cluster: write cluster.url as redis://host".into();
    }
    if has("loading") {
        return "the server is loading its data".into();
    }
    format!("{command} has failed: {text}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_of_an_acl_mean_the_channels_and_no_others() {
        let patterns =
            |namespace: &str| Patterns::of(&Settings { namespace: namespace.into(), ..Settings::default() }).0;
        assert_eq!(patterns("/max"), "&socket.io#/max#* &socket.io-nodes#/max#*");
        assert_eq!(patterns(r"/[a]*?\"), r"&socket.io#/\[a\]\*\?\\#* &socket.io-nodes#/\[a\]\*\?\\#*");
    }

    #[test]
    fn errors_of_the_server_say_what_to_do() {
        let patterns = Patterns("&socket.io#/max#* &socket.io-nodes#/max#*".into());
        for (name, text, part) in [
            ("HELLO", "ERR unknown command `HELLO`, with args beginning with: `3`", "Redis 6 or later"),
            ("HELLO", "NOPROTO unsupported protocol version", "Redis 6 or later"),
            ("SSUBSCRIBE", "ERR unknown command `SSUBSCRIBE`, with args beginning with: `a`", "Redis 7 or later"),
            ("SPUBLISH", "ERR unknown command 'SPUBLISH', with args beginning with: 'a' 'b' ", "Redis 7 or later"),
            ("SPUBLISH", "NOPERM User m has no permissions to run the 'spublish' command", "SETUSER <user> +spublish"),
            ("HELLO", "WRONGPASS invalid username-password pair or user is disabled.", "password is wrong"),
            ("HELLO", "NOAUTH HELLO must be called with the client already authenticated", "cluster.password_file"),
            ("SENTINEL", "NOAUTH Authentication required.", "cluster.sentinel_password_file"),
            ("PUBLISH", "NOPERM User m has no permissions to run the 'publish' command", "SETUSER <user> +publish"),
            ("ROLE", "NOPERM this user has no permissions to run the 'role' command", "SETUSER <user> +role"),
            (
                "SUBSCRIBE",
                "NOPERM No permissions to access a channel",
                "SETUSER <user> &socket.io#/max#* &socket.io-nodes",
            ),
            ("CLUSTER SLOTS", "NOPERM User m has no permissions to run the 'cluster|slots' command", "+cluster|slots"),
            ("CLUSTER SLOTS", "ERR This instance has cluster support disabled", "write cluster.url as redis://host"),
            ("ROLE", "LOADING Redis is loading the dataset in memory", "loading its data"),
            ("ROLE", "ERR anything else", "ROLE has failed: ERR anything else"),
        ] {
            let fault = server(name, &patterns, text, false);
            assert!(fault.contains(part), "{fault}");
        }
    }
}
