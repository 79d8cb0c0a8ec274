//! The sets of values that a setting may be in: each reads a raw value into its type, says what is allowed in words for
//! the operator, and knows how a value of it may be shown.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

use super::raw::Raw;
use super::{NONE, Secret, filter};

const USERNAME_BYTES_MAX: usize = 256;
const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// A set of values of the type `T`.
pub(super) trait Allowed<T> {
    /// What is in the set, for "allowed: ...".
    fn form(&self) -> String;

    /// The value that `raw` stands for, or what is wrong with it in a few words that do not quote it.
    fn read(&self, raw: &Raw) -> Result<T, &'static str>;

    /// How `raw` looks in messages, without anything that is secret.
    fn shown(&self, raw: &Raw) -> String {
        raw.to_string()
    }

    /// The value of a setting that no layer gives.
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

/// Numbers with a decimal point or without one.
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

/// A set, and beside it no value, which is written as empty text.
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

/// A set of which every value is written as text.
pub(super) struct Text<T> {
    form: &'static str,
    read: fn(&str) -> Result<T, &'static str>,
    shown: fn(&Raw) -> String,
}

impl<T> Text<T> {
    const fn new(form: &'static str, read: fn(&str) -> Result<T, &'static str>) -> Self {
        Self { form, read, shown: Raw::to_string }
    }

    const fn shown_by(self, shown: fn(&Raw) -> String) -> Self {
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

/// Lists of some of these words, each once and at least one: an array of a file, or text with commas.
pub(super) struct Words(&'static [&'static str]);

/// What clients may speak.
pub(super) const GENERATIONS: Words = Words(&["eio4", "eio3", "0.9"]);

impl Allowed<Vec<&'static str>> for Words {
    fn form(&self) -> String {
        format!("a list of one or more of {}, in the environment with commas between", self.0.join(", "))
    }

    fn read(&self, raw: &Raw) -> Result<Vec<&'static str>, &'static str> {
        let given = raw.words().ok_or("not a list of words")?;
        let mut read = Vec::new();
        for word in given {
            let known = self.0.iter().find(|known| **known == word).ok_or("not such a word")?;
            if read.contains(known) {
                return Err("a word twice");
            }
            read.push(*known);
        }
        if read.is_empty() { Err("empty") } else { Ok(read) }
    }
}

/// Lists of addresses and networks: an array of a file, or text with commas.
pub(super) struct Networks;

/// Hosts that are believed.
pub(super) const NETWORKS: Networks = Networks;

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

/// Where something listens; names are not resolved.
pub(super) const ADDRESSES: Text<SocketAddr> = Text::new("IP:PORT", |text| text.parse().map_err(|_| "not an address"));

/// URLs to which paths can be appended: what they are made of, without a slash at the end.
pub(super) const BASE_URLS: Text<String> =
    Text::new("an http or https URL with a host, without user, password, query and fragment", read_base_url)
        .shown_by(show_url);

/// Paths that requests can have and that routes can be made of as they are.
pub(super) const ENDPOINT_PATHS: Text<String> =
    Text::new("a path such as /socket.io/ that begins and ends with / and has only letters, digits and -._~", |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(plain);
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).ok_or("not such a path")?;
        if inner.split('/').all(name) { Ok(text.to_owned()) } else { Err("not such a path") }
    });

/// Names of Socket.IO namespaces. A comma ends one on the wire, and in 0.9 a colon; a question mark begins its query.
pub(super) const NAMESPACES: Text<String> = Text::new(
    "a name such as /max that begins with / and goes on, without comma, colon, question mark and white space",
    |text| {
        let fits = |c: char| !matches!(c, ',' | ':' | '?') && !c.is_whitespace() && !c.is_control();
        let good = text.starts_with('/') && text != "/" && text.chars().all(fits);
        if good { Ok(text.to_owned()) } else { Err("not such a name") }
    },
);

/// Files; whether one is there is for its reader to say.
pub(super) const FILES: Text<PathBuf> =
    Text::new(
        "the path of a file",
        |text| {
            if text.contains('\0') { Err("not a path") } else { Ok(PathBuf::from(text)) }
        },
    );

/// People as MAX knows them.
pub(super) const USERNAMES: Text<String> =
    Text::new("a username of at most 256 bytes, without control characters, and no white space at its ends", |text| {
        let good = text.len() <= USERNAME_BYTES_MAX && text.trim() == text && !text.contains(char::is_control);
        if good { Ok(text.to_owned()) } else { Err("not a username") }
    });

/// Proofs that go into an HTTP header and nowhere else.
pub(super) const TOKENS: Text<Secret> =
    Text::new("a token of at most 4096 visible ASCII characters, without white space", |text| {
        let good = text.len() <= HEADER_VALUE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Secret::from(text)) } else { Err("not a token") }
    })
    .shown_by(|_| "***".to_owned());

/// What an HTTP header can carry.
pub(super) const HEADER_VALUES: Text<String> =
    Text::new("at most 4096 visible ASCII characters, with spaces only between them", |text| {
        let fits = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let good = text.len() <= HEADER_VALUE_BYTES_MAX && text.trim() == text && text.bytes().all(fits);
        if good { Ok(text.to_owned()) } else { Err("not the value of a header") }
    });

/// Filters of env_logger.
pub(super) const LOG_FILTERS: Text<String> =
    Text::new("a filter in the form of env_logger, such as info or warn,maxtalk=debug", |text| {
        filter::check(text).map(|()| text.to_owned())
    });

fn read_base_url(text: &str) -> Result<String, &'static str> {
    // The parser of browsers forgives much ("http:host", inner tabs): what it would have to forgive is refused here.
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err("not an http or https URL");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("not a URL");
    }
    let url = Url::parse(text).map_err(|_| "not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        Err("a URL with a user or a password")
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("a URL with a query or a fragment")
    } else if url.port() == Some(0) {
        Err("a URL with the port 0")
    } else {
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }
}

/// A URL that is refused may carry a password or a token where it must not: they are not shown all the same.
fn show_url(raw: &Raw) -> String {
    let Some(text) = raw.text() else { return raw.to_string() };
    let (place, query) = text.find(['?', '#']).map_or((text, ""), |at| text.split_at(at));
    let place = place.rsplit_once('@').map_or_else(
        || place.to_owned(),
        |(before, host)| match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://***@{host}"),
            None => format!("***@{host}"),
        },
    );
    Raw::Plain(place + if query.is_empty() { "" } else { "?***" }).to_string()
}
