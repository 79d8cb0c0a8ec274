//! The crowd for load tests, in addition to the demo's own people: users u0, u1 and so on, in conversations c0, c1 and
//! so on, by rule. Answers about them are computed when asked for; nothing is stored.

use serde::Serialize;

use super::max_error::MaxError;
use super::rule::Rule;
use super::world::SCOPE;
use crate::config;

/// The prefix of usernames.
pub const USER_PREFIX: &str = "u";
/// The prefix of conversation ids.
const CONVERSATION_PREFIX: &str = "c";

/// A person of the crowd, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member(usize);

/// All people of the crowd.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    rule: Rule,
}

/// The answer to `GET /people/{username}`, reduced to the members that clients read.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    username: String,
    display_name: String,
    object_type: &'static str,
    /// `None` unless the person or the service account asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    talking_in: Option<Vec<Conversation>>,
}

/// A conversation in the answer to `GET /conversations` or in a profile. It lists no participants: there may be very
/// many.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conversation {
    id: String,
    object_type: &'static str,
    display_name: String,
    tags: &'static [&'static str],
    permissions: &'static [&'static str],
}

impl Crowd {
    /// Makes the crowd of the settings, which is empty by default.
    pub(crate) fn new(settings: &config::Demo) -> Self {
        Self { rule: Rule::new(settings.people, settings.members, settings.zipf, settings.conversations_per_person) }
    }

    /// Returns the person with this name, in either case. `None` if there is no such person.
    pub(crate) fn find(&self, username: &str) -> Option<Member> {
        let digits = username.strip_prefix(USER_PREFIX).or_else(|| username.strip_prefix('U'))?;
        // Each person has one name: "u007" and "u+7" are not names of u7.
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let number = digits.parse().ok().filter(|_| plain)?;
        self.rule.conversations_of(number).next().map(|_| Member(number))
    }

    /// Identifies the caller by the three headers of a call. The token of each person is the username. `None` if the
    /// name is not of the crowd.
    pub(crate) fn actor(&self, username: &str, token: &str, scope: &str) -> Option<Result<Member, MaxError>> {
        let member = self.find(username)?;
        let proven = token.eq_ignore_ascii_case(username) && scope == SCOPE;
        Some(if proven { Ok(member) } else { Err(MaxError::unauthorized()) })
    }

    /// `GET /people/{username}`, with or without the conversations.
    pub(crate) fn profile(&self, Member(number): Member, with_conversations: bool) -> Profile {
        Profile {
            username: format!("{USER_PREFIX}{number}"),
            display_name: format!("User {number}"),
            object_type: "person",
            talking_in: with_conversations.then(|| self.conversations(Member(number))),
        }
    }

    /// `GET /conversations`.
    pub(crate) fn conversations(&self, Member(number): Member) -> Vec<Conversation> {
        let conversation = |(conversation, members)| Conversation {
            id: format!("{CONVERSATION_PREFIX}{conversation}"),
            object_type: "conversation",
            display_name: format!("Conversation {conversation} of {members}"),
            tags: if members > 2 { &["group"] } else { &[] },
            permissions: &["read", "write", "unsubscribe"],
        };
        self.rule.conversations_of(number).map(conversation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crowd() -> Crowd {
        Crowd::new(&config::Demo { public: false, people: 26, members: 10, conversations_per_person: 1, zipf: None })
    }

    #[test]
    fn a_name_is_a_number_in_one_form_only() {
        let names = [("u0", Some(0)), ("U25", Some(25)), ("u9", Some(9))];
        let others = ["u26", "u", "", "u00", "u07", "u+7", "u-1", "u7 ", "7", "v7", "u99999999999999999999999", "uu7"];
        for (name, expected) in names.into_iter().chain(others.map(|name| (name, None))) {
            assert_eq!(crowd().find(name), expected.map(Member), "{name}");
        }
        assert_eq!(Crowd::default().find("u0"), None);
    }

    #[test]
    fn an_actor_needs_all_three_headers() {
        let unauthorized = Some(Err(MaxError::unauthorized()));
        assert_eq!(crowd().actor("u7", "u7", SCOPE), Some(Ok(Member(7))));
        assert_eq!(crowd().actor("u7", "u8", SCOPE), unauthorized);
        assert_eq!(crowd().actor("u7", "u7", ""), unauthorized);
        assert_eq!(crowd().actor("u26", "u26", SCOPE), None, "somebody else may know");
    }

    #[test]
    fn a_profile_has_the_shape_of_max() {
        let conversation = json!({
            "id": "c1",
            "objectType": "conversation",
            "displayName": "Conversation 1 of 9",
            "tags": ["group"],
            "permissions": ["read", "write", "unsubscribe"],
        });
        let mut expected = json!({ "username": "u9", "displayName": "User 9", "objectType": "person" });
        assert_eq!(serde_json::to_value(crowd().profile(Member(9), false)).unwrap(), expected);
        expected["talkingIn"] = json!([conversation]);
        assert_eq!(serde_json::to_value(crowd().profile(Member(9), true)).unwrap(), expected);
        assert_eq!(serde_json::to_value(crowd().conversations(Member(9))).unwrap(), json!([conversation]));
    }
}
