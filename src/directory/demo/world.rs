//! The people, conversations and messages of the demo MAX, and MAX's rules about them. No I/O: time is an argument,
//! answers are the JSON of MAX 5, and refusals have MAX's form.

use std::collections::VecDeque;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::max_error::MaxError;
use super::samples::{CONVERSATIONS, PEOPLE, SERVICE};
use crate::event::{Token, Username};

/// The scope that MAX asks for in every call.
pub(crate) const SCOPE: &str = "widgetcli";
/// Most conversations.
pub(crate) const CONVERSATIONS_MAX: usize = 100;
/// Messages kept of each conversation: the oldest are deleted.
pub(crate) const MESSAGES_MAX: usize = 200;
/// Longest message in characters.
pub(crate) const CONTENT_CHARS_MAX: usize = 2000;
/// Longest name of a conversation in characters.
pub(crate) const NAME_CHARS_MAX: usize = 100;
/// Messages of one page if the client gives no limit.
const PAGE: usize = 10;

/// A caller whom [`World::actor`] has accepted: an index into the people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Actor(usize);

/// The messages of a conversation that a call asks for: the newest within these bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    limit: usize,
    before: Option<String>,
    after: Option<String>,
}

impl Page {
    /// Reads `limit`, `before` and `after` as MAX does: the limit is 10 by default, and 0 means all messages.
    pub(crate) fn parse(limit: Option<&str>, before: Option<&str>, after: Option<&str>) -> Result<Self, MaxError> {
        let limit = match limit.map_or(Ok(PAGE), str::parse) {
            Ok(0) => usize::MAX,
            Ok(limit) => limit,
            Err(_) => return Err(MaxError::bad_search("limit must be a positive integer")),
        };
        if before.is_some() && after.is_some() {
            return Err(MaxError::bad_search("only one offset filter is allowed, after or before"));
        }
        if ![before, after].into_iter().flatten().all(is_object_id) {
            return Err(MaxError::bad_search("before and after must be message ids"));
        }
        Ok(Self { limit, before: before.map(str::to_owned), after: after.map(str::to_owned) })
    }
}

struct Person {
    username: Username,
    display_name: String,
    token: Token,
}

impl Person {
    /// The JSON of an actor or a participant.
    fn json(&self) -> Value {
        json!({ "username": self.username, "displayName": self.display_name, "objectType": "person" })
    }
}

struct Message {
    id: String,
    author: usize,
    content: String,
    published: i64,
}

struct Conversation {
    id: String,
    owner: usize,
    published: i64,
    name: Option<String>,
    /// Whether the conversation may grow. Two people who begin a conversation stay two, and find it again.
    group: bool,
    participants: Vec<usize>,
    /// The participants who still listen.
    subscribed: Vec<usize>,
    messages: VecDeque<Message>,
}

impl Conversation {
    /// A conversation without messages. The first of the participants owns it.
    fn new(id: String, participants: &[usize], name: Option<&str>, now: i64) -> Self {
        Self {
            id,
            owner: participants[0],
            published: now,
            name: name.map(str::to_owned),
            group: participants.len() > 2,
            participants: participants.to_vec(),
            subscribed: participants.to_vec(),
            messages: VecDeque::new(),
        }
    }

    /// Whether the conversation takes no more messages, because at most one participant is left.
    fn archived(&self) -> bool {
        self.subscribed.len() < 2
    }

    fn tags(&self) -> Vec<&'static str> {
        let tags = [(self.group, "group"), (self.archived(), "archive")];
        tags.into_iter().filter_map(|(applies, tag)| applies.then_some(tag)).collect()
    }
}

/// The state of the demo MAX.
pub(crate) struct World {
    /// The service account comes last. Others cannot talk to it.
    people: Vec<Person>,
    conversations: Vec<Conversation>,
    last_second: i64,
    serial: u64,
}

impl World {
    /// The demo's people in the middle of their conversations. `secret` returns random numbers for their tokens.
    pub(crate) fn new(mut secret: impl FnMut() -> u64, now: i64) -> Self {
        let mut people = Vec::new();
        for (username, display_name) in PEOPLE.iter().chain([&SERVICE]) {
            let token = format!("{:016x}{:016x}", secret(), secret());
            // The names come from `samples`, not from outside: a wrong one fails every test.
            let username = Username::parse(username).unwrap_or_else(|_| unreachable!("{username} is a username"));
            people.push(Person { username, display_name: (*display_name).to_owned(), token: token.as_str().into() });
        }
        // The serial starts in the lower half of the numbers, so that it can be counted up.
        let mut world = Self { people, conversations: Vec::new(), last_second: 0, serial: secret() >> 1 };
        for (number, (name, participants, history)) in (1_u32..).zip(CONVERSATIONS) {
            world.last_second = 0;
            let began = now - history.first().map_or(0, |(_, minutes_ago, _)| minutes_ago * 60);
            let mut conversation = Conversation::new(sample_id(number), participants, *name, began);
            for (author, minutes_ago, content) in *history {
                world.post(&mut conversation, *author, content, now - minutes_ago * 60);
            }
            world.conversations.push(conversation);
        }
        world.last_second = now;
        world
    }

    /// All people except the service account, with their tokens. The demo page picks one.
    pub(crate) fn everybody(&self) -> Value {
        let people = self.people[..self.service()].iter();
        let with_token = people.map(|person| {
            let mut json = person.json();
            json["token"] = person.token.reveal().into();
            json["scope"] = SCOPE.into();
            json
        });
        with_token.collect()
    }

    /// The account that may ask about everybody.
    pub(crate) fn service_account(&self) -> (Username, Token) {
        let service = &self.people[self.service()];
        (service.username.clone(), service.token.clone())
    }

    /// Whether a caller is the service account.
    pub(crate) fn is_service(&self, Actor(actor): Actor) -> bool {
        actor == self.service()
    }

    /// Identifies the caller by the three headers of a call.
    pub(crate) fn actor(&self, username: &str, token: &str, scope: &str) -> Result<Actor, MaxError> {
        let known = Username::parse(username).ok().and_then(|name| self.people.iter().position(|p| p.username == name));
        let actor = known.filter(|who| self.people[*who].token.reveal() == token && scope == SCOPE);
        actor.map(Actor).ok_or_else(MaxError::unauthorized)
    }

    /// `GET /people/{username}`. Only that person and the service account see the conversations.
    pub(crate) fn profile(&self, Actor(actor): Actor, username: &str) -> Result<Value, MaxError> {
        let who = self.person(username)?;
        let mut profile = self.people[who].json();
        if actor == who || self.is_service(Actor(actor)) {
            let talking_in = self.newest_first(who).into_iter().map(|conversation| {
                json!({
                    "id": conversation.id,
                    "objectType": "conversation",
                    "displayName": self.display_name(conversation, who),
                    "tags": conversation.tags(),
                    "permissions": ["read", "write", "unsubscribe"],
                })
            });
            profile["talkingIn"] = talking_in.collect();
        }
        Ok(profile)
    }

    /// `GET /conversations`: newest activity first.
    pub(crate) fn conversations(&self, Actor(actor): Actor) -> Value {
        let conversations = self.newest_first(actor).into_iter();
        conversations.map(|conversation| self.conversation_json(conversation, actor)).collect()
    }

    /// `POST /conversations`: posts a message to these people, in a new conversation, or in the one that two people
    /// have already. Returns the message, and whether somebody enters the conversation.
    pub(crate) fn start(
        &mut self,
        Actor(actor): Actor,
        participants: &[String],
        name: Option<&str>,
        content: &str,
        now: i64,
    ) -> Result<(Value, bool), MaxError> {
        checked(content)?;
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            return Err(MaxError::invalid(format!("displayName is longer than {NAME_CHARS_MAX} characters")));
        }
        let mut who = Vec::new();
        for participant in participants {
            let person = self.person(participant)?;
            if who.contains(&person) {
                return Err(MaxError::invalid("One or more users duplicated in participants list"));
            }
            who.push(person);
        }
        match who[..] {
            [] => return Err(MaxError::invalid("Empty participants parameter")),
            [alone] if alone == actor => return Err(MaxError::invalid("Cannot start a conversation with oneself")),
            _ if !who.contains(&actor) => {
                return Err(MaxError::invalid("Actor must be part of the participants list."));
            }
            _ => {}
        }
        let same_two =
            |had: &Conversation| !had.group && who.len() == 2 && who.iter().all(|p| had.participants.contains(p));
        let mut conversation = match self.conversations.iter().position(same_two) {
            Some(found) => self.conversations.swap_remove(found),
            None if self.conversations.len() >= CONVERSATIONS_MAX => {
                return Err(MaxError::forbidden(format!(
                    "This demo holds no more than {CONVERSATIONS_MAX} conversations"
                )));
            }
            None => {
                // The caller comes first and so owns the conversation.
                who.sort_by_key(|person| *person != actor);
                Conversation::new(self.id(now), &who, name, now)
            }
        };
        let somebody_enters =
            conversation.messages.is_empty() || conversation.subscribed.len() < conversation.participants.len();
        conversation.subscribed.clone_from(&conversation.participants);
        let message = self.post(&mut conversation, actor, content, now);
        self.conversations.push(conversation);
        Ok((message, somebody_enters))
    }

    /// `GET /conversations/{id}/messages`: the messages, oldest first, and whether there are more.
    pub(crate) fn messages(&self, actor: Actor, id: &str, page: &Page) -> Result<(Value, bool), MaxError> {
        let conversation = &self.conversations[self.find(actor, id)?];
        let wanted = |message: &&Message| {
            page.before.as_ref().is_none_or(|before| message.id < *before)
                && page.after.as_ref().is_none_or(|after| message.id > *after)
        };
        let mut newest_first = conversation.messages.iter().rev().filter(wanted);
        let shown: Vec<_> = newest_first.by_ref().take(page.limit).collect();
        let messages = shown.into_iter().rev().map(|message| self.message_json(conversation, message, actor.0));
        Ok((messages.collect(), newest_first.next().is_some()))
    }

    /// `POST /conversations/{id}/messages`.
    pub(crate) fn talk(&mut self, actor: Actor, id: &str, content: &str, now: i64) -> Result<Value, MaxError> {
        checked(content)?;
        let found = self.find(actor, id)?;
        if self.conversations[found].archived() {
            return Err(MaxError::forbidden("This conversation is archived"));
        }
        let mut conversation = self.conversations.swap_remove(found);
        let message = self.post(&mut conversation, actor.0, content, now);
        self.conversations.push(conversation);
        Ok(message)
    }

    /// `POST /conversations/{id}/participants`: the subscribe activity, and whether the participant is new.
    pub(crate) fn invite(&mut self, actor: Actor, id: &str, name: &str, now: i64) -> Result<(Value, bool), MaxError> {
        let found = self.find(actor, id)?;
        let who = self.person(name)?;
        let conversation = &mut self.conversations[found];
        if !conversation.group {
            return Err(MaxError::forbidden("This is not a group conversation, so no one else is allowed"));
        }
        if conversation.owner != actor.0 {
            return Err(MaxError::forbidden("Only the owner of a conversation can add people to it"));
        }
        let new = !conversation.participants.contains(&who);
        if new {
            conversation.participants.push(who);
            conversation.subscribed.push(who);
        }
        let activity = self.id(now);
        let conversation = &self.conversations[found];
        let participants: Vec<_> = conversation.participants.iter().map(|who| self.people[*who].json()).collect();
        let subscription = json!({
            "id": activity,
            "objectType": "activity",
            "verb": "subscribe",
            "published": date(now),
            "actor": self.people[who].json(),
            "object": { "objectType": "conversation", "id": conversation.id, "participants": participants },
        });
        Ok((subscription, new))
    }

    /// `DELETE /conversations/{id}/participants/{username}`, allowed to that participant and to the owner of a group.
    pub(crate) fn expel(&mut self, actor: Actor, id: &str, name: &str) -> Result<(), MaxError> {
        let found = self.find(actor, id)?;
        let who = self.person(name)?;
        let conversation = &mut self.conversations[found];
        if who != actor.0 && (conversation.owner != actor.0 || !conversation.group) {
            return Err(MaxError::forbidden("Only the owner of a group conversation can remove people from it"));
        }
        if !conversation.subscribed.contains(&who) {
            return Err(MaxError::not_found(format!("{} is not in this conversation", name.escape_debug())));
        }
        conversation.subscribed.retain(|one| *one != who);
        if conversation.group {
            conversation.participants.retain(|one| *one != who);
        }
        match conversation.subscribed.first() {
            None => drop(self.conversations.swap_remove(found)),
            Some(heir) if conversation.owner == who => conversation.owner = *heir,
            Some(_) => {}
        }
        Ok(())
    }

    fn service(&self) -> usize {
        self.people.len() - 1
    }

    fn person(&self, username: &str) -> Result<usize, MaxError> {
        let known = Username::parse(username).ok();
        let others = &self.people[..self.service()];
        let found = known.and_then(|name| others.iter().position(|person| person.username == name));
        found.ok_or_else(|| MaxError::unknown_user(username))
    }

    fn newest_first(&self, who: usize) -> Vec<&Conversation> {
        let mut conversations: Vec<_> = self.conversations_of(who).collect();
        conversations.sort_by_key(|conversation| {
            std::cmp::Reverse(conversation.messages.back().map(|last| (last.published, &last.id)))
        });
        conversations
    }

    fn conversations_of(&self, who: usize) -> impl Iterator<Item = &Conversation> {
        self.conversations.iter().filter(move |conversation| conversation.subscribed.contains(&who))
    }

    fn find(&self, Actor(actor): Actor, id: &str) -> Result<usize, MaxError> {
        let found = self.conversations.iter().position(|conversation| conversation.id == id);
        let found = found.ok_or_else(|| MaxError::not_found(format!("Object {} not found", id.escape_debug())))?;
        if self.conversations[found].subscribed.contains(&actor) {
            Ok(found)
        } else {
            Err(MaxError::forbidden("You are not in this conversation"))
        }
    }

    fn post(&mut self, conversation: &mut Conversation, author: usize, content: &str, now: i64) -> Value {
        let message = Message { id: self.id(now), author, content: content.to_owned(), published: now };
        let json = self.message_json(conversation, &message, author);
        if conversation.messages.len() >= MESSAGES_MAX {
            conversation.messages.pop_front();
        }
        conversation.messages.push_back(message);
        json
    }

    /// A new id of 24 hex digits like a MongoDB ObjectId: the second, then a number. Later ids are greater.
    fn id(&mut self, now: i64) -> String {
        self.last_second = self.last_second.max(now).clamp(0, u32::MAX.into());
        self.serial += 1;
        format!("{:08x}{:016x}", self.last_second, self.serial)
    }

    /// The usernames of the participants of a conversation, so that their sessions can be refreshed. Empty if there is
    /// no such conversation.
    pub(crate) fn participants(&self, id: &str) -> Vec<Username> {
        let found = self.conversations.iter().find(|conversation| conversation.id == id);
        let participants = found.map_or(&[][..], |conversation| &conversation.participants);
        participants.iter().map(|who| self.people[*who].username.clone()).collect()
    }

    /// The name of a conversation for a reader: its own name if it is a group with one, otherwise the names of the
    /// others.
    fn display_name(&self, conversation: &Conversation, reader: usize) -> String {
        if let (Some(name), true) = (&conversation.name, conversation.group) {
            return name.clone();
        }
        let others = conversation.participants.iter().filter(|who| **who != reader);
        others.map(|who| self.people[*who].display_name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn conversation_json(&self, conversation: &Conversation, reader: usize) -> Value {
        let participants: Vec<_> = conversation.participants.iter().map(|who| self.people[*who].json()).collect();
        let owner = &self.people[conversation.owner].username;
        let mut json = json!({
            "id": conversation.id,
            "objectType": "conversation",
            "displayName": self.display_name(conversation, reader),
            "participants": participants,
            "tags": conversation.tags(),
            "messages": 0,
            "owner": owner,
            "creator": owner,
            "published": date(conversation.published),
            "permissions": {
                "read": "subscribed",
                "write": "subscribed",
                "subscribe": "restricted",
                "unsubscribe": "subscribed",
            },
        });
        if let Some(last) = conversation.messages.back() {
            json["lastMessage"] = json!({ "content": last.content, "published": date(last.published) });
        }
        json
    }

    fn message_json(&self, conversation: &Conversation, message: &Message, reader: usize) -> Value {
        json!({
            "id": message.id,
            "objectType": "message",
            "verb": "post",
            "published": date(message.published),
            "actor": self.people[message.author].json(),
            "object": { "objectType": "note", "content": message.content },
            "contexts": [{
                "id": conversation.id,
                "objectType": "conversation",
                "displayName": self.display_name(conversation, reader),
                "tags": conversation.tags(),
            }],
        })
    }
}

/// The id of a conversation that is there at the start. It is the same after each start, so that a page that shows the
/// conversation survives a restart. Later ids begin with the second, and are greater.
fn sample_id(number: u32) -> String {
    format!("{number:024x}")
}

fn checked(content: &str) -> Result<(), MaxError> {
    if content.trim().is_empty() {
        return Err(MaxError::invalid("Empty content of a message"));
    }
    if content.chars().count() > CONTENT_CHARS_MAX {
        return Err(MaxError::invalid(format!("content is longer than {CONTENT_CHARS_MAX} characters")));
    }
    Ok(())
}

fn is_object_id(id: &str) -> bool {
    id.len() == 24 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn date(second: i64) -> String {
    OffsetDateTime::from_unix_timestamp(second).ok().and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
