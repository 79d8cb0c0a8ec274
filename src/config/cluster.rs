//! The values of the settings of a cluster: URLs of Redis, the dialect, and names of channels and events.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::allowed::{Allowed, Text, show_url};
use super::raw::Raw;
use crate::event::{EXCEPT_MAX, SOCKET_ID_BYTES_MAX};

/// The URL of a Redis, of the Sentinels that know where it is, or of members of a Redis Cluster. It may hold a
/// password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Arc<str>);

impl RedisUrl {
    /// The schemes of a URL.
    pub const SCHEMES: [&str; 7] =
        ["redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];

    /// Checks a URL.
    ///
    /// # Errors
    /// A few words that say what is wrong and do not quote the URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("not a URL of Redis")?;
        if !Self::SCHEMES.contains(&scheme) {
            return Err("not a URL of Redis");
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err("not a URL of Redis");
        }
        if scheme == "unix" {
            let path = rest.split('?').next().unwrap_or_default();
            return if path.starts_with('/') { Ok(Self(text.into())) } else { Err("a socket without a full path") };
        }
        let (hosts, path) =
            rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts).split_once('/').unwrap_or((rest, ""));
        let has_hosts = hosts.split(',').all(|host| !host.rsplit('@').next().unwrap_or_default().is_empty());
        if scheme.ends_with("+cluster") {
            return if has_hosts && path.is_empty() { Ok(Self(text.into())) } else { Err("a Cluster without hosts") };
        }
        if scheme.ends_with("+sentinel") {
            let has_name = !path.split('?').next().unwrap_or_default().is_empty();
            return if has_hosts && has_name { Ok(Self(text.into())) } else { Err("Sentinels without host or name") };
        }
        let url = Url::parse(text).map_err(|_| "not a URL of Redis")?;
        if url.host_str().is_none_or(str::is_empty) { Err("a URL without a host") } else { Ok(Self(text.into())) }
    }

    /// Returns the URL, with its secrets.
    pub fn reveal(&self) -> &Arc<str> {
        &self.0
    }

    /// Returns the URL without its user, password and query.
    pub fn shown(&self) -> String {
        show_url(&Raw::Plain(self.0.to_string()))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Lists of URLs of Redis: an array in a file, or text with spaces or commas between. Empty for one process alone.
pub(super) struct RedisUrls;

impl Allowed<Vec<RedisUrl>> for RedisUrls {
    fn form(&self) -> String {
        "a list of URLs redis://, rediss://, unix:///path, redis+sentinel://h1,h2,h3/name or redis+cluster://h1,h2,h3, \
         in the environment with spaces between"
            .to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Vec<RedisUrl>, &'static str> {
        urls(raw).ok_or("not a list of URLs")?.into_iter().map(RedisUrl::parse).collect()
    }

    fn shown(&self, raw: &Raw) -> String {
        let Some(urls) = urls(raw) else { return "***".to_owned() };
        let shown: Vec<_> = urls.into_iter().map(|url| show_url(&Raw::Plain(url.to_owned()))).collect();
        format!("[{}]", shown.join(", "))
    }
}

/// Returns the URLs of a list. A comma is no end of a URL, because the hosts of Sentinels have commas between them.
fn urls(raw: &Raw) -> Option<Vec<&str>> {
    match raw.text() {
        Some(text) => Some(text.split_whitespace().collect()),
        None => raw.words(),
    }
}

/// Returns the bytes of the longest message about an update. The id of the conversation, `timestamp` and `messageID`
/// take up to six bytes for one in JSON, and stand in it twice; a socket id takes up to two for one.
pub const fn message_bytes_min(id_bytes_max: usize) -> usize {
    40 * id_bytes_max + EXCEPT_MAX * (2 * SOCKET_ID_BYTES_MAX + 3) + 4096
}

/// The protocol that the nodes speak on the channels of Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// That of the classic adapter of Socket.IO: MessagePack, `PUBLISH` and `SUBSCRIBE`.
    #[default]
    Classic,
    /// That of the sharded adapter: JSON, `SPUBLISH` and `SSUBSCRIBE`.
    Sharded,
}

impl Dialect {
    /// Returns the dialect of this name. `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Classic, Self::Sharded].into_iter().find(|dialect| dialect.as_str() == name)
    }

    /// Returns the name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Sharded => "sharded",
        }
    }
}

/// Dialects.
pub(super) const DIALECTS: Text<Dialect> =
    Text::new("classic or sharded", |text| Dialect::parse(text).ok_or("not such a word"));

/// Beginnings of channels. The channel of the nodes begins with the prefix and `-nodes`, so that a prefix with this end
/// would take the heartbeats of another installation for news.
pub(super) const PREFIXES: Text<String> =
    Text::new("a name of at most 64 letters, digits and -._: that does not end in -nodes", |text| {
        if text.ends_with("-nodes") { Err("the channel of the nodes has this end") } else { channel(text) }
    });

/// Names of channels. Redis reads some characters in a pattern, and nobody means them in a name.
pub(super) const CHANNELS: Text<String> = Text::new("a name of at most 64 letters, digits and -._:", channel);

fn channel(text: &str) -> Result<String, &'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if text.len() <= 64 && text.chars().all(fits) { Ok(text.to_owned()) } else { Err("not such a name") }
}

/// Names of nodes, for people.
pub(super) const NODE_NAMES: Text<String> = Text::new("a name of at most 64 visible characters", |text| {
    let fits = text.chars().count() <= 64 && !text.chars().any(char::is_control) && text.trim() == text;
    if fits { Ok(text.to_owned()) } else { Err("not such a name") }
});

/// Lists of events of other servers: an array in a file, or text with commas.
pub(super) struct EventNames;

impl Allowed<Vec<String>> for EventNames {
    fn form(&self) -> String {
        "a list of names of events, in the environment with commas between".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Vec<String>, &'static str> {
        let words = raw.words().ok_or("not a list of words")?;
        let event = |word: &str| if word.is_empty() { Err("an empty name") } else { Ok(word.to_owned()) };
        words.into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_urls_is_shown_as_it_is_written() {
        let raw = Raw::Plain("redis://:p@a redis://b".to_owned());
        assert_eq!(RedisUrls.shown(&raw), r#"["redis://***@a", "redis://b"]"#);
    }

    #[test]
    fn urls_of_redis_are_checked_and_shown_without_secrets() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost"),
            ("redis://u:p%40@10.0.0.1:6380/0", "redis://***@10.0.0.1:6380/0"),
            ("rediss://[::1]:6379", "rediss://[::1]:6379"),
            ("unix:///run/redis.sock?pass=x", "unix:///run/redis.sock?***"),
            ("redis+sentinel://a:26379,b,c/mymaster", "redis+sentinel://a:26379,b,c/mymaster"),
            ("redis+cluster://u:p@a:7000,b", "redis+cluster://***@a:7000,b"),
            ("rediss+sentinel://:p@a,b/m", "rediss+sentinel://***@a,b/m"),
        ] {
            let url = RedisUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((format!("{url:?}"), &**url.reveal()), (format!("\"{shown}\""), text));
        }
        for text in [
            "localhost:6379",
            "http://localhost",
            "redis://",
            "unix://run",
            "redis+sentinel://a,b",
            "redis+cluster://a,",
            "redis://a b",
        ] {
            assert!(RedisUrl::parse(text).is_err(), "{text}");
        }
    }
}
