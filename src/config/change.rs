//! The configuration of a running server, and its change by an operator. A change is checked as a file is, holds from
//! the next message on, and lasts until the next start.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::live::LIVE;
use super::problem::Problem;
use super::raw::{Raw, Source};
use super::{Config, Error};

/// The configuration of a running server.
pub struct LiveConfig {
    /// As it was at the start.
    first: Arc<Config>,
    now: Mutex<Arc<Config>>,
    parts: Box<dyn Parts>,
}

/// The parts of a server that keep live limits.
pub trait Parts: Send + Sync {
    /// Returns why these limits cannot hold on this machine.
    fn object_to(&self, config: &Config) -> Option<Problem>;

    /// Turns the limits to those of a configuration.
    fn turn(&self, config: &Config);
}

/// Settings that were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The changes, in alphabetical order.
    pub changes: Vec<Change>,
    /// The lines that keep them: those of a file of settings, and assignments of environment variables where one has
    /// set the value at the start, because a variable is above a file.
    pub to_keep: String,
}

/// The change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub key: &'static str,
    /// The former value in TOML.
    pub from: String,
    /// The source of the former value.
    pub from_source: String,
    /// The new value in TOML.
    pub to: String,
}

impl LiveConfig {
    /// Holds the configuration of a server with these parts.
    pub fn new(config: Config, parts: impl Parts + 'static) -> Self {
        let first = Arc::new(config);
        Self { now: Mutex::new(first.clone()), first, parts: Box::new(parts) }
    }

    /// Returns the configuration now.
    pub fn get(&self) -> Arc<Config> {
        self.now.lock().clone()
    }

    /// Changes settings: all of them, or none. `who` is named in the log.
    ///
    /// # Errors
    /// All problems at once: unknown keys, settings that are not [`LIVE`], values that are not allowed. If there are
    /// none of these, the combinations of settings that cannot work, and limits that are too large for this machine.
    pub fn change(&self, values: &BTreeMap<String, Value>, who: &dyn fmt::Display) -> Result<Changed, Error> {
        // The lock is held until the change is applied, so that two changes cannot cross.
        let mut now = self.now.lock();
        let mut next = Config::clone(&now);
        let (mut changes, mut problems) = (Vec::new(), Vec::new());
        for (key, value) in values {
            match next.change(key, &Raw::from_json(value)) {
                Ok(change) => changes.push(change),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            problems = next.impossible_combinations();
            problems.extend(self.parts.object_to(&next));
        }
        if !problems.is_empty() {
            return Err(Error(problems));
        }
        self.parts.turn(&next);
        *now = Arc::new(next);
        for Change { key, from, from_source, to } in &changes {
            log::info!("{key} is {to} now, and was {from} ({from_source}); changed by {who}");
        }
        Ok(Changed { to_keep: self.to_keep(&changes), changes })
    }

    fn to_keep(&self, changes: &[Change]) -> String {
        let (mut variables, mut file, mut last_section) = (String::new(), String::new(), "");
        for Change { key, to, .. } in changes {
            if let Some(Source::Environment(name)) = self.first.origins.0.get(key).map(|origin| &origin.source) {
                variables += &format!("{name}={}\n", to.trim_matches('"'));
                continue;
            }
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            if section != last_section {
                file += &format!("[{section}]\n");
                last_section = section;
            }
            file += &format!("{name} = {to}\n");
        }
        variables + &file
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").finish_non_exhaustive()
    }
}

impl Config {
    fn change(&mut self, key: &str, raw: &Raw) -> Result<Change, Problem> {
        let Some(key) = LIVE.into_iter().find(|live| *live == key) else {
            return Err(super::layers::not_live(key));
        };
        let (from, from_source) = (self.shown(key).unwrap_or_default().to_owned(), self.source(key));
        self.set(key, raw, Source::Admin)?;
        Ok(Change { key, from, from_source, to: raw.to_string() })
    }
}

#[cfg(test)]
impl<P: Parts> Parts for Arc<P> {
    fn object_to(&self, config: &Config) -> Option<Problem> {
        (**self).object_to(config)
    }

    fn turn(&self, config: &Config) {
        (**self).turn(config);
    }
}

/// Parts without limits.
#[cfg(test)]
impl Parts for () {
    fn object_to(&self, _: &Config) -> Option<Problem> {
        None
    }

    fn turn(&self, _: &Config) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::print::Setting;
    use crate::config::{File, Sources};
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A machine on which one limit has a bound, and a part that keeps another.
    #[derive(Default)]
    struct Machine(Arc<AtomicUsize>);

    impl Parts for Machine {
        fn object_to(&self, config: &Config) -> Option<Problem> {
            let settings = vec![config.describe("max.inflight_max")];
            let problem = Problem::Combination { settings, why: "too many for this machine".to_owned() };
            (config.max.inflight_max > 100).then_some(problem)
        }

        fn turn(&self, config: &Config) {
            self.0.store(config.mailbox.conversation, Ordering::Relaxed);
        }
    }

    fn change(live: &LiveConfig, values: &Value) -> Result<Changed, String> {
        let values = serde_json::from_value(values.clone()).unwrap();
        live.change(&values, &"a test").map_err(|error| error.to_string())
    }

    fn live(text: &str) -> LiveConfig {
        let file = Some(File { path: "a.toml".to_owned(), text: text.to_owned() });
        let environment = vec![("MAXTALK_OUTBOX__POLICY".into(), "close".into())];
        let sources = Sources { file, environment, ..Sources::default() };
        LiveConfig::new(Config::load(sources).unwrap(), Machine::default())
    }

    #[test]
    fn live_settings_are_settings() {
        assert!(LIVE.iter().all(|live| Setting::all().any(|setting| setting.key == *live)));
    }

    #[test]
    fn a_change_is_applied_and_says_how_to_keep_it() {
        let applied = Arc::new(AtomicUsize::new(0));
        let live = LiveConfig::new(Config::default(), Machine(applied.clone()));
        let changed =
            change(&live, &json!({"mailbox.session": 8, "mailbox.conversation": 512, "outbox.policy": "drop"}));
        let changed = changed.unwrap();
        let change_of = |at: usize| {
            let Change { key, from, from_source, to } = &changed.changes[at];
            [*key, from, from_source, to]
        };
        assert_eq!(change_of(0), ["mailbox.conversation", "2048", "default", "512"]);
        assert_eq!(change_of(2), ["outbox.policy", "\"fold\"", "default", "\"drop\""]);
        assert_eq!(changed.to_keep, "[mailbox]\nconversation = 512\nsession = 8\n[outbox]\npolicy = \"drop\"\n");
        assert_eq!((applied.load(Ordering::Relaxed), live.get().mailbox.conversation), (512, 512));
        assert_eq!(live.get().describe("mailbox.conversation"), "mailbox.conversation = 512 (admin)");
        let again = change(&live, &json!({"mailbox.conversation": "0064"})).unwrap();
        assert_eq!((again.changes[0].from_source.as_str(), live.get().mailbox.conversation), ("admin", 64));
        assert_eq!(again.to_keep, "[mailbox]\nconversation = 64\n", "a number of TOML begins with no zero");
    }

    #[test]
    fn a_value_of_a_variable_is_kept_by_the_variable() {
        let live = live("");
        let values = json!({"outbox.policy": "drop", "outbox.grace_ms": 1000});
        let expected = "MAXTALK_OUTBOX__POLICY=drop\n[outbox]\ngrace_ms = 1000\n";
        for _ in 0..2 {
            assert_eq!(change(&live, &values).unwrap().to_keep, expected);
        }
    }

    #[test]
    fn a_change_that_is_not_allowed_changes_nothing() {
        let live = live("[outbox]\nmessages_max = 4000");
        let table = [
            (
                json!({"mailbox.conversation": 0, "mailbox.session": 4}),
                "mailbox.conversation = 0 (admin): out of range",
            ),
            (json!({"mailbox.session": -1}), "mailbox.session = -1 (admin): out of range; allowed: an integer from 1"),
            (json!({"mailbox.session": 1e30}), "mailbox.session = 1e+30 (admin): not an integer"),
            (json!({"mailbox.session": "1e"}), "mailbox.session = \"1e\" (admin): not an integer"),
            (json!({"mailbox.session": null}), "mailbox.session = null (admin): not an integer"),
            (json!({"outbox.policy": "flod"}), "outbox.policy = \"flod\" (admin): not such a word; allowed: fold, "),
            (json!({"max.inflight_max": 101}), "max.inflight_max = 101 (admin): too many for this machine"),
            (json!({"server.workers": 2}), "server.workers: holds until the next start; while the server runs, these"),
            (json!({"mailbox.conversatoin": 2}), "did you mean mailbox.conversation?"),
            (
                json!({"mailbox.conversation": 3000}),
                "outbox.messages_max = 4000 (file a.toml, line 2), mailbox.conversation = 3000 (admin), \
                 conversation.presence_members_max = 1000 (default): the first must be above the sum",
            ),
        ];
        for (values, expected) in table {
            let error = change(&live, &values).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(*live.get(), *self::live("[outbox]\nmessages_max = 4000").get());
        let both = json!({"mailbox.conversation": 3000, "conversation.presence_members_max": 10});
        assert_eq!(change(&live, &both).map(|changed| changed.changes.len()), Ok(2), "settings may need one another");
    }
}
