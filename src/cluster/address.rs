//! The addresses of Redis servers, as URLs. Printed, an address has no password.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::form_urlencoded;

/// The port of Redis.
const PORT: u16 = 6379;

/// The port of Sentinel.
const SENTINEL_PORT: u16 = 26_379;

/// The reason why a URL is no address. The text says what is allowed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct AddressError(String);

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or address.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// The place of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host.
    Tcp(Host),
    /// A Unix socket.
    Unix(PathBuf),
    /// The master that these Sentinels know by this name.
    Sentinel(Vec<Host>, String),
    /// The Redis Cluster of which these are members.
    Cluster(Vec<Host>),
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the server that it belongs to.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The address of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The place of the server.
    pub place: Place,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is none of the forms that are served. The text names them, or the part that is wrong.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let no = |text: &str| AddressError(text.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            no("not a URL: redis://host, rediss://host, unix:///path, redis+sentinel://host,host/name or \
                redis+cluster://host,host are allowed")
        })?;
        match scheme {
            "unix" | "redis+unix" => Self::unix(rest),
            "redis" | "rediss" => Self::server(rest, scheme == "rediss"),
            "redis+sentinel" | "rediss+sentinel" => Self::sentinel(rest, scheme == "rediss+sentinel"),
            "redis+cluster" | "rediss+cluster" => Self::cluster(rest, scheme == "rediss+cluster"),
            _ => {
                Err(no("the scheme has to be redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster or \
                         rediss+cluster"))
            }
        }
    }

    fn unix(rest: &str) -> Result<Self, AddressError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(AddressError("the path of a Unix socket begins with a slash: unix:///run/redis.sock".into()));
        }
        let (mut username, mut password) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "user" => username = Some(value.into_owned()),
                "pass" => password = Some(Secret::new(&value)),
                _ => return Err(AddressError(format!("`{key}`: only user and pass may stand behind the path"))),
            }
        }
        Ok(Self { place: Place::Unix(decoded(path)?.into()), tls: false, username, password })
    }

    fn server(rest: &str, tls: bool) -> Result<Self, AddressError> {
        let (username, password, rest) = user(rest)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(path, "" | "0") {
            return Err(AddressError(format!(
                "`/{path}`: the channels of Redis belong to no database: leave it out, and separate installations by \
                 cluster.prefix"
            )));
        }
        Ok(Self { place: Place::Tcp(parse_host(host, PORT)?), tls, username, password })
    }

    fn cluster(rest: &str, tls: bool) -> Result<Self, AddressError> {
        let (username, password, rest) = user(rest)?;
        let hosts = rest.strip_suffix('/').unwrap_or(rest);
        let hosts = hosts.split(',').map(|host| parse_host(host, PORT)).collect::<Result<_, _>>()?;
        Ok(Self { place: Place::Cluster(hosts), tls, username, password })
    }

    fn sentinel(rest: &str, tls: bool) -> Result<Self, AddressError> {
        let (username, password, rest) = user(rest)?;
        let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() {
            return Err(AddressError("the name of the master is missing: redis+sentinel://host,host/name".into()));
        }
        let hosts = hosts.split(',').map(|host| parse_host(host, SENTINEL_PORT)).collect::<Result<_, _>>()?;
        Ok(Self { place: Place::Sentinel(hosts, decoded(name)?), tls, username, password })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        let list = |hosts: &[Host]| hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",");
        match &self.place {
            Place::Tcp(host) => write!(f, "redis{s}://{host}"),
            Place::Unix(path) => write!(f, "unix://{}", path.display()),
            Place::Sentinel(hosts, name) => write!(f, "redis{s}+sentinel://{}/{name}", list(hosts)),
            Place::Cluster(hosts) => write!(f, "redis{s}+cluster://{}", list(hosts)),
        }
    }
}

/// Takes user and password off the front.
fn user(rest: &str) -> Result<(Option<String>, Option<Secret>, &str), AddressError> {
    let Some((user, rest)) = rest.rsplit_once('@') else { return Ok((None, None, rest)) };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let some = |text: &str| if text.is_empty() { Ok(None) } else { decoded(text).map(Some) };
    Ok((some(name)?, some(password)?.map(|password| Secret::new(&password)), rest))
}

/// Reads a host with or without a port.
///
/// # Errors
/// It is none.
pub(super) fn parse_host(text: &str, port: u16) -> Result<Host, AddressError> {
    let wrong = || AddressError(format!("`{text}` is no host: name, name:port, or [IPv6]:port"));
    let (name, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let is_clean = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "/?#@,".contains(c));
    let port = match rest.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0),
        None => rest.is_empty().then_some(port),
    };
    match port {
        Some(port) if is_clean => Ok(Host { name: name.into(), port }),
        _ => Err(wrong()),
    }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| AddressError("what is written with % is no UTF-8".into()))?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let table = [
            ("redis://h", "redis://h:6379", None, None),
            ("redis://h:7000/", "redis://h:7000", None, None),
            ("redis://u:p%40ss@h/0", "redis://h:6379", Some("u"), Some("p@ss")),
            ("redis://:pass@[::1]:7000", "redis://[::1]:7000", None, Some("pass")),
            ("rediss://u@10.0.0.1", "rediss://10.0.0.1:6379", Some("u"), None),
            ("unix:///run/redis.sock", "unix:///run/redis.sock", None, None),
            ("unix:///run/a%20b?user=u&pass=p%26", "unix:///run/a b", Some("u"), Some("p&")),
            ("redis+sentinel://a,b:1,[::2]/main", "redis+sentinel://a:26379,b:1,[::2]:26379/main", None, None),
            ("redis+cluster://:p%2C@a,b:1,[::2]/", "redis+cluster://a:6379,b:1,[::2]:6379", None, Some("p,")),
            ("rediss+cluster://a", "rediss+cluster://a:6379", None, None),
            ("rediss+sentinel://u:p@a/m", "rediss+sentinel://a:26379/m", Some("u"), Some("p")),
        ];
        for (url, printed, username, password) in table {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(address.username.as_deref(), username, "{url}");
            assert_eq!(address.password.as_ref().map(Secret::reveal), password, "{url}");
            assert!(!format!("{address:?}").contains("pass\"") && address.tls == url.starts_with("rediss"));
        }
    }

    #[test]
    fn wrong_addresses_are_told_what_is_allowed() {
        for (url, part) in [
            ("localhost:6379", "redis://host"),
            ("http://h", "scheme"),
            ("redis://", "no host"),
            ("redis://h:0", "no host"),
            ("redis://h:99999", "no host"),
            ("redis://a,b", "no host"),
            ("redis://h/3", "cluster.prefix"),
            ("redis://h?protocol=resp3", "no host"),
            ("redis://%ff@h", "UTF-8"),
            ("redis+sentinel://a,b", "name of the master"),
            ("redis+sentinel://a,,b/m", "no host"),
            ("redis+cluster://a,", "no host"),
            ("redis+cluster://a/name", "no host"),
            ("unix://run/redis.sock", "slash"),
            ("unix:///run/redis.sock?db=1", "`db`"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
