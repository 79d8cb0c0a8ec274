//! The meaning of an environment variable by its name: a setting, almost a setting, a link or service of an
//! orchestrator, or nothing known. Pure.

use super::near::{letters, nearest};
use super::print::Setting;

/// The prefix of our environment variables.
pub(super) const PREFIX: &str = "MAXTALK_";

/// The meaning of a name.
pub(super) enum Meaning {
    /// A setting.
    Setting(&'static Setting),
    /// A setting, with a mistake in the name.
    Almost(&'static Setting),
    /// The form of a setting, `SECTION__KEY`, but there is no such setting.
    NoSetting {
        /// `section.key`.
        key: String,
    },
    /// Has our prefix, but is not known.
    Unknown,
    /// A variable of somebody else.
    Other,
}

/// Returns the meaning of the variable `name`. Its value tells a link of Docker from a name that only looks like one.
pub(super) fn meaning(name: &str, value: &str) -> Meaning {
    if let Some(setting) = Setting::all().find(|setting| setting.variable() == name) {
        return Meaning::Setting(setting);
    }
    let letters_of_name = letters(name);
    let Some(letters_of_rest) = letters_of_name.strip_prefix(letters(PREFIX).as_str()) else { return Meaning::Other };
    if let Some(setting) = Setting::all().find(|setting| letters(setting.key) == letters_of_rest) {
        // A name such as MAXTALK_MAX___URL has the form of a setting: the message then lists the section's settings.
        return if section_and_key(name).is_some() { no_setting(name) } else { Meaning::Almost(setting) };
    }
    let Some(rest) = name.strip_prefix(PREFIX) else { return Meaning::Other };
    match injected(rest, value) {
        Some(Injected::Surely) => return Meaning::Other,
        Some(Injected::Perhaps) => return Meaning::Unknown,
        None => {}
    }
    if section_and_key(name).is_some() {
        return no_setting(name);
    }
    Setting::nearest(rest).map_or(Meaning::Unknown, Meaning::Almost)
}

fn no_setting(name: &str) -> Meaning {
    let (section, key) = section_and_key(name).unwrap_or_default();
    Meaning::NoSetting { key: format!("{section}.{key}").to_lowercase() }
}

fn section_and_key(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PREFIX)?.split_once("__").filter(|(section, _)| !section.is_empty())
}

/// How surely a variable comes from an orchestrator.
#[derive(Debug, PartialEq)]
enum Injected {
    Surely,
    /// Orchestrators give this name, but not this value.
    Perhaps,
}

/// Returns how surely a variable comes from a link of Docker or a service of Kubernetes. `None` if its name does not
/// have their form.
///
/// `rest` is the name without our prefix: `ADMIN_SERVICE_HOST` for a service called `maxtalk-admin`, and `SERVICE_HOST`
/// for one called `maxtalk`. In names of links and services, every character except letters and digits becomes an
/// underscore.
fn injected(rest: &str, value: &str) -> Option<Injected> {
    let name = format!("_{rest}");
    let expected = |fits: bool| Some(if fits { Injected::Surely } else { Injected::Perhaps });
    let ends_with_address = name.match_indices("_PORT_").any(|(at, _)| is_port_and_protocol(&name[at + 6..]));
    let names_a_port = name.split_once("_SERVICE_PORT_").is_some_and(|(_, port)| !port.is_empty());
    let copied = name.split_once("_ENV_").is_some_and(|(_, variable)| !variable.is_empty());
    if ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|end| name.ends_with(end))
        || ends_with_address
        || names_a_port
        || copied
    {
        Some(Injected::Surely)
    } else if name.ends_with("_PORT") {
        expected(value.contains("://"))
    } else if name.ends_with("_NAME") {
        expected(value.starts_with('/'))
    } else {
        None
    }
}

/// Whether `text` is `6545_TCP` or the like, alone or with one of the suffixes of Docker.
fn is_port_and_protocol(text: &str) -> bool {
    let Some((port, rest)) = text.split_once('_') else { return false };
    let (protocol, part) = rest.split_once('_').map_or((rest, None), |(protocol, part)| (protocol, Some(part)));
    let parts = ["ADDR", "PORT", "PROTO", "START", "END", "PORT_START", "PORT_END"];
    !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && ["TCP", "UDP", "SCTP"].contains(&protocol)
        && part.is_none_or(|part| parts.contains(&part))
}

impl Setting {
    /// The name of its environment variable, which for `server.listen` is `MAXTALK_SERVER__LISTEN`.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.replacen('.', "__", 1).to_uppercase())
    }

    /// The setting whose key is most like `key`. `None` if all of them differ much.
    pub(super) fn nearest(key: &str) -> Option<&'static Self> {
        let near = nearest(key, Self::all().map(|setting| setting.key))?;
        Self::all().find(|setting| setting.key == near)
    }

    /// The first setting of any section whose name is the last part of `key`.
    pub(super) fn of_any_section(key: &str) -> Option<&'static Self> {
        let name = letters(key.rsplit('.').next().unwrap_or(key));
        Self::all().find(|setting| letters(setting.name) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_orchestrators_are_told_from_others() {
        let table = [
            ("PORT", "tcp://10.0.0.1:6545", Some(Injected::Surely)),
            ("PORT", "6545", Some(Injected::Perhaps)),
            ("NAME", "/a/b", Some(Injected::Surely)),
            ("NAME", "b", Some(Injected::Perhaps)),
            ("ADMIN_SERVICE_HOST", "", Some(Injected::Surely)),
            ("SERVICE_PORT_HTTP", "", Some(Injected::Surely)),
            ("SERVICE_PORT_", "", None),
            ("MAX__PORT_6545_TCP", "", Some(Injected::Surely)),
            ("A_PORT_B_PORT_6545_TCP", "", Some(Injected::Surely)),
            ("PORT_6545_TCP_ADDR", "", Some(Injected::Surely)),
            ("PORT_6545_TCP_PORT_START", "", Some(Injected::Surely)),
            ("PORT_6545_TCP_OTHER", "", None),
            ("PORT_6545_HTTP", "", None),
            ("PORT_X_TCP", "", None),
            ("PORT__TCP", "", None),
            ("ENV_A", "", Some(Injected::Surely)),
            ("ENV_", "", None),
            ("REPORT", "", None),
            ("USERNAME", "", None),
            ("", "", None),
        ];
        for (rest, value, expected) in table {
            assert_eq!(injected(rest, value), expected, "{rest}={value}");
        }
    }
}
