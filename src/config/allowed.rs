//! The sets of values that settings allow. A set reads a raw value into its type, describes what is allowed in words
//! for the operator, and knows how to show a value without its secrets.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use actix_http::header::HeaderValue;
use ipnet::IpNet;

use super::base_url::BaseUrl;
use super::policy::OutboxPolicy;
use super::raw::Raw;
use super::{NONE, filter};
use crate::event::{Token, Username};
use crate::ids::SidTag;
use crate::logging::LogFormat;
use crate::protocol::Generation;

const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// A set of values of the type `T`.
pub(super) trait Allowed<T> {
    /// The members of the set in words, for "allowed: ...".
    fn form(&self) -> String;

    /// Reads `raw`. The error is a few words that say what is wrong and do not quote the value.
    fn read(&self, raw: &Raw) -> Result<T, &'static str>;

    /// `raw` as messages show it, without secrets.
    fn shown(&self, raw: &Raw) -> String {
        raw.to_string()
    }

    /// The value of a setting to which no layer gives one. `None` if a layer has to.
    fn absent(&self) -> Option<T> {
        None
    }
}

impl<T: Copy + Display + PartialOrd + TryFrom<i128>> Allowed<T> for RangeInclusive<T> {
    fn form(&self) -> String {
        format!("an integer from {} to {}", self.start(), self.end())
    }

    fn read(&self, raw: &Raw) -> Result<T, &'static str> {
        let integer = raw.integer().ok_or("not an integer")?;
        T::try_from(integer).ok().filter(|integer| self.contains(integer)).ok_or("out of range")
    }
}

/// Numbers, with or without a decimal point.
pub(super) struct Decimals(pub(super) RangeInclusive<f64>);

impl Allowed<f64> for Decimals {
    fn form(&self) -> String {
        format!("a number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, raw: &Raw) -> Result<f64, &'static str> {
        let number = raw.number().ok_or("not a number")?;
        if self.0.contains(&number) { Ok(number) } else { Err("out of range") }
    }
}

/// `true` and `false`.
pub(super) struct Booleans;

impl Allowed<bool> for Booleans {
    fn form(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<bool, &'static str> {
        raw.boolean().ok_or("not a boolean")
    }
}

/// The values of a set, or no value, which is written as empty text.
pub(super) struct Optional<A>(pub(super) A);

impl<T, A: Allowed<T>> Allowed<Option<T>> for Optional<A> {
    fn form(&self) -> String {
        format!("{}, or empty for none", self.0.form())
    }

    fn read(&self, raw: &Raw) -> Result<Option<T>, &'static str> {
        if raw.text() == Some("") { Ok(None) } else { self.0.read(raw).map(Some) }
    }

    fn shown(&self, raw: &Raw) -> String {
        if raw.text() == Some("") { NONE.to_owned() } else { self.0.shown(raw) }
    }

    fn absent(&self) -> Option<Option<T>> {
        Some(None)
    }
}

/// A set whose values are written as text.
pub(super) struct Text<T> {
    form: &'static str,
    read: fn(&str) -> Result<T, &'static str>,
    shown: fn(&Raw) -> String,
}

impl<T> Text<T> {
    pub(super) const fn new(form: &'static str, read: fn(&str) -> Result<T, &'static str>) -> Self {
        Self { form, read, shown: Raw::to_string }
    }

    pub(super) const fn shown_by(self, shown: fn(&Raw) -> String) -> Self {
        Self { shown, ..self }
    }
}

impl<T> Allowed<T> for Text<T> {
    fn form(&self) -> String {
        self.form.to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<T, &'static str> {
        match raw.text() {
            None => Err("not text"),
            Some("") => Err("empty"),
            Some(text) => (self.read)(text),
        }
    }

    fn shown(&self, raw: &Raw) -> String {
        (self.shown)(raw)
    }
}

/// Lists of generations, without repetition and not empty: an array in a file, or text with commas.
pub(super) struct Generations;

impl Allowed<Vec<Generation>> for Generations {
    fn form(&self) -> String {
        let words = Generation::ALL.map(Generation::as_str).join(", ");
        format!("a list of one or more of {words}, in the environment with commas between")
    }

    fn read(&self, raw: &Raw) -> Result<Vec<Generation>, &'static str> {
        let mut read = Vec::new();
        for word in raw.words().ok_or("not a list of words")? {
            let generation = Generation::parse(word).ok_or("not such a word")?;
            if read.contains(&generation) {
                return Err("a word twice");
            }
            read.push(generation);
        }
        if read.is_empty() { Err("empty") } else { Ok(read) }
    }
}

/// Lists of addresses and networks: an array in a file, or text with commas.
pub(super) struct Networks;

impl Allowed<Vec<IpNet>> for Networks {
    fn form(&self) -> String {
        "a list of addresses and networks such as 10.0.0.0/8, in the environment with commas between".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Vec<IpNet>, &'static str> {
        let network = |word: &str| word.parse().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
        let words = raw.words().ok_or("not a list of words")?;
        words.into_iter().map(|word| network(word).map_err(|_| "not an address or a network")).collect()
    }
}

/// Addresses to listen on. A port alone means all addresses of IPv4. Names are not resolved, but for that of this
/// machine.
pub(super) const ADDRESSES: Text<SocketAddr> = Text::new("IP:PORT, localhost:PORT or :PORT", |text| {
    let on = |ip: Ipv4Addr, port: &str| port.parse().map(|port| SocketAddr::from((ip, port))).ok();
    let address = match text.rsplit_once(':') {
        Some(("", port)) => on(Ipv4Addr::UNSPECIFIED, port),
        Some((name, port)) if name.eq_ignore_ascii_case("localhost") => on(Ipv4Addr::LOCALHOST, port),
        _ => text.parse().ok(),
    };
    address.ok_or("not an address")
});

/// Base URLs of MAX.
pub(super) const BASE_URLS: Text<BaseUrl> = Text::new(
    "an http or https URL with a host, for https no IPv6 address, without user, password, query and fragment",
    BaseUrl::parse,
)
.shown_by(show_url);

/// Paths that need no encoding in requests and in routes.
pub(super) const ENDPOINT_PATHS: Text<String> =
    Text::new("a path such as /socket.io/ that begins and ends with / and has only letters, digits and -._~", |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(plain);
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).ok_or("not such a path")?;
        if inner.split('/').all(name) { Ok(text.to_owned()) } else { Err("not such a path") }
    });

/// Names of Socket.IO namespaces. On the wire a comma ends a name, in 0.9 a colon does, and a question mark begins its
/// query.
pub(super) const NAMESPACES: Text<String> = Text::new(
    "a name such as /max that begins with / and goes on, without comma, colon, question mark and white space",
    |text| {
        let fits = |c: char| !matches!(c, ',' | ':' | '?') && !c.is_whitespace() && !c.is_control();
        let good = text.starts_with('/') && text != "/" && text.chars().all(fits);
        if good { Ok(text.to_owned()) } else { Err("not such a name") }
    },
);

/// Paths of files. Whether the file exists is checked by its reader.
pub(super) const FILES: Text<PathBuf> =
    Text::new(
        "the path of a file",
        |text| {
            if text.contains('\0') { Err("not a path") } else { Ok(PathBuf::from(text)) }
        },
    );

/// Names of people in MAX.
pub(super) const USERNAMES: Text<Username> =
    Text::new("a username of at most 256 bytes, without control characters, and no white space at its ends", |text| {
        Username::parse(text).map_err(|_| "not a username")
    });

/// Secrets that are sent in an HTTP header and shown nowhere.
pub(super) const TOKENS: Text<Token> =
    Text::new("a token of at most 4096 visible ASCII characters, without white space", |text| {
        let good = text.len() <= HEADER_VALUE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Token::from(text)) } else { Err("not a token") }
    })
    .shown_by(|_| "***".to_owned());

/// Beginnings of sids.
pub(super) const SID_TAGS: Text<SidTag> =
    Text::new("4 letters, digits, - or _", |text| SidTag::parse(text).ok_or("not such a tag"));

/// Fates of news that does not fit into an outbox.
pub(super) const OUTBOX_POLICIES: Text<OutboxPolicy> =
    Text::new("fold, close or drop", |text| OutboxPolicy::parse(text).ok_or("not such a word"));

/// Forms of the log.
pub(super) const LOG_FORMATS: Text<LogFormat> =
    Text::new("text or json", |text| LogFormat::parse(text).ok_or("not such a word"));

/// Values of HTTP headers.
pub(super) const HEADER_VALUES: Text<HeaderValue> =
    Text::new("at most 4096 visible ASCII characters, with spaces only between them", |text| {
        let fits = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let good = text.len() <= HEADER_VALUE_BYTES_MAX && text.trim() == text && text.bytes().all(fits);
        HeaderValue::from_str(text).ok().filter(|_| good).ok_or("not the value of a header")
    });

/// Log filters in the form of env_logger.
pub(super) const LOG_FILTERS: Text<String> =
    Text::new("a filter in the form of env_logger, such as info or warn,maxtalk=debug", |text| {
        filter::check(text).map(|()| text.to_owned())
    });

/// Shows a URL without user, password, query and fragment: a URL that is refused may hold secrets there.
pub(super) fn show_url(raw: &Raw) -> String {
    let Some(text) = raw.text() else { return raw.to_string() };
    let (base, query) = text.find(['?', '#']).map_or((text, ""), |at| text.split_at(at));
    let base = base.rsplit_once('@').map_or_else(
        || base.to_owned(),
        |(before, host)| match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://***@{host}"),
            None => format!("***@{host}"),
        },
    );
    Raw::Plain(base + if query.is_empty() { "" } else { "?***" }).to_string()
}
