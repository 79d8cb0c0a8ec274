//! A MAX with simple rules: the token of `messi` is `t-messi`; every user `u0`, `u1`, ... is in the conversation
//! `crowd`; tests put other users into conversations. It can hold back or fail its answers about a user.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use percent_encoding::percent_decode_str;

use super::DEADLINE;
use super::fake_max::{After, FakeMax, Request, error, json};

/// The account for joins without a token.
pub const SERVICE: &str = "manager";

pub struct MaxByRule {
    fake: FakeMax,
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    people: Mutex<HashMap<String, Person>>,
    changed: Condvar,
}

#[derive(Clone, Default)]
struct Person {
    conversations: Vec<String>,
    /// Whether answers are held back.
    held: bool,
    /// An answer that replaces the usual one.
    instead: Option<Vec<u8>>,
}

impl MaxByRule {
    pub fn start() -> Self {
        let world = Arc::new(World::default());
        let fake = FakeMax::start({
            let world = Arc::clone(&world);
            move |request, wire| {
                let answer = world.answer(request)?;
                wire.write_all(&answer).map(|()| After::KeepAlive)
            }
        });
        Self { fake, world }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.fake.address())
    }

    /// Puts `user` into these conversations.
    pub fn talks_in(&self, user: &str, conversations: &[&str]) {
        let conversations = conversations.iter().map(|&id| id.to_owned()).collect();
        self.change(user, |person| person.conversations = conversations);
    }

    /// Holds back answers about `user` until [`Self::release`].
    pub fn hold(&self, user: &str) {
        self.change(user, |person| person.held = true);
    }

    pub fn release(&self, user: &str) {
        self.change(user, |person| person.held = false);
    }

    /// Answers questions about `user` with this status from now on, such as `503 Service Unavailable`.
    pub fn fails(&self, user: &str, status: &str) {
        self.answers(user, error(status, "Trouble", "As the test wants it."));
    }

    /// Answers questions about `user` with these bytes from now on.
    pub fn answers(&self, user: &str, instead: Vec<u8>) {
        self.change(user, |person| person.instead = Some(instead));
    }

    pub fn recovers(&self, user: &str) {
        self.change(user, |person| person.instead = None);
    }

    /// Waits until `times` requests have arrived.
    pub async fn asked(&self, times: usize) {
        super::within("a question to MAX", self.fake.asked(times)).await;
    }

    fn change(&self, user: &str, change: impl FnOnce(&mut Person)) {
        change(self.world.people.lock().unwrap().entry(user.to_owned()).or_default());
        self.world.changed.notify_all();
    }
}

impl World {
    fn answer(&self, request: &Request) -> io::Result<Vec<u8>> {
        if request.target == "/info" {
            return Ok(json(r#"{"version":"5.3.26"}"#));
        }
        let text = |name| String::from_utf8_lossy(request.header(name)).into_owned();
        let (caller, token) = (text("x-oauth-username"), text("x-oauth-token"));
        if token != format!("t-{caller}") {
            return Ok(error("401 Unauthorized", "Unauthorized", "Invalid token."));
        }
        let about = match request.target.strip_prefix("/people/") {
            Some(name) if caller == SERVICE || name == caller => {
                percent_decode_str(name).decode_utf8_lossy().into_owned()
            }
            Some(_) => return Ok(error("403 Forbidden", "Forbidden", "Not yours to ask.")),
            None => caller,
        };
        let people = self.people.lock().unwrap();
        let held = |people: &mut HashMap<String, Person>| people.get(&about).is_some_and(|person| person.held);
        let (people, _) = self.changed.wait_timeout_while(people, DEADLINE, held).unwrap();
        let is_numbered = about.strip_prefix('u').is_some_and(|number| number.parse::<u32>().is_ok());
        let person = match people.get(&about) {
            Some(person) => person.clone(),
            None if is_numbered => Person { conversations: vec!["crowd".to_owned()], ..Person::default() },
            None => return Ok(error("400 Bad Request", "UnknownUserError", "Nobody has this name.")),
        };
        drop(people);
        if let Some(instead) = person.instead {
            return Ok(instead);
        }
        let items = person.conversations.iter().map(|id| serde_json::json!({"id": id, "objectType": "conversation"}));
        let list = serde_json::Value::from_iter(items);
        Ok(json(&match request.target.as_str() {
            "/conversations" => list.to_string(),
            _ => serde_json::json!({"username": about, "objectType": "person", "talkingIn": list}).to_string(),
        }))
    }
}
