//! Mistakes in the file of `--protocol`: which of its keys are likely wrong, by what a run has shown. Pure.

use std::cmp::Reverse;
use std::fmt;

use super::ledger::Stray;
use super::outcome::Report;
use super::printable::printable;
use super::protocol::ChatProtocol;

/// Most events that a hint tells.
const UNNAMED_MAX: usize = 3;

/// A mistake, by what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The server refuses the namespace.
    Namespace,
    /// Joins have no answer.
    NoAnswer,
    /// The answer to a join has no list of conversations, or nobody shares one.
    List,
    /// Nobody hears anything.
    Silence,
    /// Updates are of conversations in which nobody is.
    Conversation,
    /// Updates are of talks that nobody has sent.
    Id,
    /// Updates are by another talker.
    Sender,
    /// Updates have another form.
    Form,
    /// Talkers hear their own talks, or do not, against what the file says.
    Echo,
    /// Leaves have no answer.
    Leave,
    /// Refusals have another form.
    Refusal,
}

impl Mistake {
    /// All of them.
    #[cfg(test)]
    const ALL: [Self; 11] = [
        Self::Namespace,
        Self::NoAnswer,
        Self::List,
        Self::Silence,
        Self::Conversation,
        Self::Id,
        Self::Sender,
        Self::Form,
        Self::Echo,
        Self::Leave,
        Self::Refusal,
    ];

    /// Returns the keys that are likely wrong, the likeliest first.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &["namespace"],
            Self::NoAnswer => &["join.event", "listening.event", "listening.answer", "join.username"],
            Self::List => &["listening.conversations", "listening.id"],
            Self::Silence => &["update.event", "talk.event", "talk.conversation"],
            Self::Conversation => &["update.conversation"],
            Self::Id => &["update.id", "talk.id"],
            Self::Sender => &["update.sender", "lowercase"],
            Self::Form => &["update.conversation", "update.id", "update.sender"],
            Self::Echo => &["echo"],
            Self::Leave => &["leave.event", "listening.conversations"],
            Self::Refusal => &["refused.request", "refused.code"],
        }
    }

    /// Returns the likely mistake if nobody could join, with these errors.
    fn of_joins(errors: &[(String, u64)], protocol: &ChatProtocol) -> Option<Self> {
        let any = |begin: &str| errors.iter().any(|(kind, _)| kind.starts_with(begin));
        if any("connect: the namespace ") {
            Some(Self::Namespace)
        } else if any("join: answered with ") {
            Some(Self::List)
        } else if any(&format!("join: no {} ", protocol.listening.name())) {
            Some(Self::NoAnswer)
        } else {
            any(&format!("{}: makes no sense", protocol.refused.event)).then_some(Self::Refusal)
        }
    }

    /// Returns the likely mistake if a run shows one.
    fn of_run(report: &Report) -> Option<Self> {
        let accounts = &report.accounts;
        let number = |is_meant: &dyn Fn(&str) -> bool| {
            report.errors.iter().filter(|(kind, _)| is_meant(kind)).map(|(_, number)| number).sum::<u64>()
        };
        let stray = |stray: Stray| number(&|kind| kind == stray.as_str());
        let is_deaf = accounts.expected > 0 && accounts.received == 0;
        let of_updates = [
            (Stray::Conversation, Self::Conversation),
            (Stray::MessageId, Self::Id),
            (Stray::Username, Self::Sender),
            (Stray::Garbled, Self::Form),
        ];
        if let Some((_, mistake)) = of_updates.into_iter().find(|(kind, _)| is_deaf && stray(*kind) > 0) {
            return Some(mistake);
        }
        let is_well = report.connections_lost + report.refused_talks + report.talks_not_taken == 0;
        if is_deaf && is_well && accounts.misdelivered == 0 {
            return Some(Self::Silence);
        }
        // Each talk comes to its talker against the file, or never does.
        let is_echo = |talks: u64| talks > 0 && talks == accounts.sent;
        if is_echo(stray(Stray::Own)) || (is_well && accounts.received > 0 && is_echo(accounts.lost)) {
            return Some(Self::Echo);
        }
        if number(&|kind| kind.starts_with("leave: no ")) > 0 {
            return Some(Self::Leave);
        }
        (number(&|kind| kind.ends_with(": makes no sense")) > 0).then_some(Self::Refusal)
    }
}

/// What is likely wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The mistake.
    pub mistake: Mistake,
    /// Events of the server that the file does not name, with their number, if one of its events did not come.
    pub unnamed: Vec<(String, u64)>,
}

impl Hint {
    /// Returns the hint if nobody could join, with these errors and events that the file does not name.
    pub fn of_joins(errors: &[(String, u64)], unnamed: &[(String, u64)], protocol: &ChatProtocol) -> Option<Self> {
        Mistake::of_joins(errors, protocol).map(|mistake| Self::new(mistake, unnamed))
    }

    /// Returns the hint if a run shows a mistake, and a file describes the protocol.
    pub fn of_run(report: &Report) -> Option<Self> {
        report.circumstances.protocol.as_ref()?;
        Mistake::of_run(report).map(|mistake| Self::new(mistake, &report.unnamed))
    }

    fn new(mistake: Mistake, unnamed: &[(String, u64)]) -> Self {
        let misses_event = matches!(mistake, Mistake::NoAnswer | Mistake::Silence | Mistake::Leave);
        let mut unnamed = if misses_event { unnamed.to_vec() } else { Vec::new() };
        unnamed.sort_by_key(|(_, number)| Reverse(*number));
        unnamed.truncate(UNNAMED_MAX);
        Self { mistake, unnamed }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistake.keys() {
            [key] => write!(f, "In the file of --protocol, the key {key} is likely wrong")?,
            keys => write!(f, "In the file of --protocol, one of these keys is likely wrong: {}", keys.join(", "))?,
        }
        if self.unnamed.is_empty() {
            return Ok(());
        }
        let events = self.unnamed.iter().map(|(name, number)| format!("{} ({number})", printable(name, 40)));
        write!(f, ". The server sent events that the file does not name: {}", events.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::{Accounts, samples};

    #[test]
    fn joins_that_fail_name_their_keys() {
        let of = |file: &str, kind: &str| {
            let errors = [(kind.to_owned(), 12)];
            Mistake::of_joins(&errors, &ChatProtocol::parse(file).unwrap())
        };
        let file = "[listening]\nevent = \"welcome\"\n[refused]\nevent = \"no\"\n";
        let ack = "[listening]\nanswer = \"ack\"\n";
        let table = [
            (file, "connect: the namespace /max was refused: x", Some(Mistake::Namespace)),
            (file, "join: answered with a welcome that is not [id, ...]", Some(Mistake::List)),
            (file, "join: no welcome in 30 s", Some(Mistake::NoAnswer)),
            (ack, "join: no acknowledgement in 30 s", Some(Mistake::NoAnswer)),
            (file, "no: makes no sense", Some(Mistake::Refusal)),
            (file, "join: refused with busy", None),
            (file, "connect: closed by the server", None),
        ];
        for (file, kind, mistake) in table {
            assert_eq!(of(file, kind), mistake, "{kind}");
        }
    }

    #[test]
    fn a_run_names_its_keys() {
        let deaf = Accounts { sent: 100, expected: 900, lost: 900, ..Accounts::default() };
        let of = |accounts: Accounts, errors: &[(&str, u64)]| {
            let errors = errors.iter().map(|(kind, number)| ((*kind).to_owned(), *number)).collect();
            Mistake::of_run(&Report { accounts, errors, refused_talks: 0, ..samples::good() })
        };
        let strays = |stray: Stray| of(Accounts { misdelivered: 900, ..deaf }, &[(stray.as_str(), 900)]);
        assert_eq!(of(deaf, &[]), Some(Mistake::Silence));
        assert_eq!(strays(Stray::Conversation), Some(Mistake::Conversation));
        assert_eq!(strays(Stray::MessageId), Some(Mistake::Id));
        assert_eq!(strays(Stray::Username), Some(Mistake::Sender));
        assert_eq!(strays(Stray::Garbled), Some(Mistake::Form));
        let heard = Accounts { received: 900, lost: 0, ..deaf };
        assert_eq!(of(heard, &[]), None);
        assert_eq!(of(heard, &[(Stray::Own.as_str(), 100)]), Some(Mistake::Echo));
        assert_eq!(of(heard, &[(Stray::Own.as_str(), 99)]), None, "a fault of the server");
        assert_eq!(of(heard, &[(Stray::MessageId.as_str(), 1)]), None, "a fault of the server");
        assert_eq!(of(Accounts { received: 800, lost: 100, ..deaf }, &[]), Some(Mistake::Echo));
        assert_eq!(of(heard, &[("leave: no welcome until the end", 3)]), Some(Mistake::Leave));
        assert_eq!(of(heard, &[("refused: makes no sense", 3)]), Some(Mistake::Refusal));
    }

    #[test]
    fn a_hint_tells_the_events_that_the_file_does_not_name() {
        let mut report = samples::good();
        report.accounts = Accounts { sent: 100, expected: 900, lost: 900, ..Accounts::default() };
        report.refused_talks = 0;
        report.unnamed =
            [("hi", 2), ("said\u{7}", 900), ("b", 1), ("a", 1)].map(|(name, n)| (name.to_owned(), n)).into();
        assert_eq!(Hint::of_run(&report), None, "there is no file");
        report.circumstances.protocol = Some("chat.toml".to_owned());
        let expected = "In the file of --protocol, one of these keys is likely wrong: update.event, talk.event, \
                        talk.conversation. The server sent events that the file does not name: said\u{fffd} (900), \
                        hi (2), b (1)";
        assert_eq!(Hint::of_run(&report).unwrap().to_string(), expected);
        report.accounts = Accounts { received: 800, lost: 100, ..report.accounts };
        let echo = "In the file of --protocol, the key echo is likely wrong";
        assert_eq!(Hint::of_run(&report).unwrap().to_string(), echo, "no event is missing");
    }

    #[test]
    fn the_page_has_each_mistake() {
        let page = include_str!("../docs/bench.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| keys that are likely wrong |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').nth(1).unwrap().trim());
        let keys =
            |mistake: Mistake| mistake.keys().iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        assert_eq!(rows.collect::<Vec<_>>(), Mistake::ALL.map(keys));
        for key in Mistake::ALL.iter().flat_map(|mistake| mistake.keys()) {
            assert!(page.contains(&format!("\n| `{key}` | ")), "{key} is a key");
        }
    }
}
