//! The configuration of a running server, and its change by an operator. A change is checked as a file is, holds from
//! the next message on, and lasts until the next start.

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
    config: Mutex<Arc<Config>>,
    apply: Box<dyn Fn(&Config) + Send + Sync>,
}

/// The change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub key: &'static str,
    /// The former value with its source, as messages show it.
    pub from: String,
    /// The new value in TOML.
    pub to: String,
}

impl LiveConfig {
    /// Holds the configuration of a server. `apply` sets the live limits of the server to those of a configuration.
    pub fn new(config: Config, apply: impl Fn(&Config) + Send + Sync + 'static) -> Self {
        Self { config: Mutex::new(Arc::new(config)), apply: Box::new(apply) }
    }

    /// Returns the configuration now.
    pub fn get(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    /// Changes settings: all of them, or none. `who` is named in the log.
    ///
    /// # Errors
    /// All problems at once: unknown keys, settings that are not [`LIVE`], values that are not allowed. If there are
    /// none of these, the combinations of settings that cannot work.
    pub fn change<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a Value)>,
        who: &dyn fmt::Display,
    ) -> Result<Vec<Change>, Error> {
        // The lock is held until the change is applied, so that two changes cannot cross.
        let mut config = self.config.lock();
        let mut next = Config::clone(&config);
        let (mut changes, mut problems) = (Vec::new(), Vec::new());
        for (key, value) in values {
            match next.change(key, Raw::from_json(value)) {
                Ok(change) => changes.push(change),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            problems = next.impossible_combinations();
        }
        if !problems.is_empty() {
            return Err(Error(problems));
        }
        (self.apply)(&next);
        *config = Arc::new(next);
        for Change { key, from, to } in &changes {
            log::info!("{key} is {to} now, and was {from}; changed by {who}");
        }
        Ok(changes)
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig").finish_non_exhaustive()
    }
}

impl Change {
    /// Returns the lines that make the change permanent in a file of settings.
    pub fn in_file(&self) -> String {
        let (section, name) = self.key.split_once('.').unwrap_or(("", self.key));
        format!("[{section}]\n{name} = {}", self.to)
    }
}

impl Config {
    fn change(&mut self, key: &str, raw: Raw) -> Result<Change, Problem> {
        let Some(key) = LIVE.into_iter().find(|live| *live == key) else {
            return Err(super::layers::not_live(key));
        };
        let from = self.origins.0.get(key).map(ToString::to_string).unwrap_or_default();
        let to = raw.to_string();
        self.set(key, &raw, Source::Admin)?;
        Ok(Change { key, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::print::Setting;
    use crate::config::{File, Sources};
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn change(live: &LiveConfig, values: &Value) -> Result<Vec<Change>, String> {
        let values = values.as_object().unwrap().iter().map(|(key, value)| (key.as_str(), value));
        live.change(values, &"a test").map_err(|error| error.to_string())
    }

    fn live(text: &str) -> LiveConfig {
        let file = Some(File { path: "a.toml".to_owned(), text: text.to_owned() });
        LiveConfig::new(Config::load(Sources { file, ..Sources::default() }).unwrap(), |_| {})
    }

    #[test]
    fn live_settings_are_settings() {
        assert!(LIVE.iter().all(|live| Setting::all().any(|setting| setting.key == *live)));
    }

    #[test]
    fn a_change_is_applied_and_says_how_to_keep_it() {
        let applied = Arc::new(AtomicUsize::new(0));
        let live = LiveConfig::new(Config::default(), {
            let applied = applied.clone();
            move |config| applied.store(config.mailbox.conversation, Ordering::Relaxed)
        });
        let changes = change(&live, &json!({"mailbox.conversation": 512, "outbox.policy": "drop"})).unwrap();
        let said: Vec<_> = changes.iter().map(|change| (change.from.as_str(), change.in_file())).collect();
        let expected = [
            ("2048 (default)", "[mailbox]\nconversation = 512".to_owned()),
            ("\"fold\" (default)", "[outbox]\npolicy = \"drop\"".to_owned()),
        ];
        assert_eq!(said, expected);
        assert_eq!((applied.load(Ordering::Relaxed), live.get().mailbox.conversation), (512, 512));
        assert_eq!(live.get().describe("mailbox.conversation"), "mailbox.conversation = 512 (admin)");
        let again = change(&live, &json!({"mailbox.conversation": "64"})).unwrap();
        assert_eq!((again[0].from.as_str(), live.get().mailbox.conversation), ("512 (admin)", 64));
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
        assert_eq!(change(&live, &both).map(|changes| changes.len()), Ok(2), "settings may need one another");
    }
}
