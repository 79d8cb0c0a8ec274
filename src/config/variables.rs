//! What a variable of the environment means by its name: a setting, almost a setting, a link or service of an
//! orchestrator, or nothing that is known. Pure.

use super::Setting;
use super::near::{letters, nearest};

/// What the names of our environment variables begin with.
pub(super) const PREFIX: &str = "MAXTALK_";

/// What a name means.
pub(super) enum Meaning {
    /// A setting.
    Setting(&'static Setting),
    /// A setting, but for a mistake in the name.
    Almost(&'static Setting),
    /// Written as a setting is, `SECTION__KEY`, of which there is none.
    NoSetting {
        /// `section.key`.
        key: String,
    },
    /// Ours by its prefix, and nothing that is known.
    Unknown,
    /// Nothing of ours.
    Other,
}

/// What the variable `name` means. Its value tells a link of Docker from a name that only looks like one.
pub(super) fn meaning(name: &str, value: &str) -> Meaning {
    if let Some(setting) = Setting::all().find(|setting| setting.variable() == name) {
        return Meaning::Setting(setting);
    }
    let letters_of_name = letters(name);
    let Some(letters_of_rest) = letters_of_name.strip_prefix(letters(PREFIX).as_str()) else { return Meaning::Other };
    if let Some(setting) = Setting::all().find(|setting| letters(setting.key) == letters_of_rest) {
        // With three underscores it is a setting that is not there, which is said with all that are.
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

/// Whether a variable comes from an orchestrator.
#[derive(Debug, PartialEq)]
enum Injected {
    Surely,
    /// It has the name, and a value that no orchestrator gives.
    Perhaps,
}

/// Looks whether a variable is one that Docker makes of a link, or Kubernetes of a service. `rest` is its name without
/// our prefix: it begins with the rest of the name of the link or service, of which nothing may be left, and all that
/// is no letter or digit in that has become an underscore.
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

/// `6545_TCP`, and what may stand behind it.
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
    /// The setting that somebody meant who wrote `key`: nearly the same, or the same without its section.
    pub(super) fn nearest(key: &str) -> Option<&'static Self> {
        let near = nearest(key, Self::all().map(|setting| setting.key))?;
        Self::all().find(|setting| setting.key == near)
    }

    /// The first setting that is called like the last part of `key`, in whatever section.
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
