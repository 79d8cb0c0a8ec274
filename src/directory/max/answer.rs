//! The JSON of MAX's answers, in every release in the field. Lists come bare or in an envelope, and only their ids are
//! certain. Bytes go in, ids come out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::event::ConversationId;

/// The bounds on an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) conversations_max: usize,
    pub(super) id_bytes_max: usize,
}

/// The reason why an answer cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The body is empty.
    Empty,
    /// The body ends in the middle of its JSON.
    CutOff,
    /// The body is something else, with an explanation that may quote it.
    Garbage(String),
    /// The answer lists more conversations than `conversations_max`.
    TooMany,
}

/// Reads the answer to `GET /conversations`.
pub(super) fn conversations(body: &[u8], bounds: Bounds) -> Result<Vec<ConversationId>, Flaw> {
    read::<List<'_>>(body)?.ids(bounds)
}

/// A person in MAX.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) username: String,
    /// The conversations of the person. `None` if MAX does not show them to the caller.
    pub(super) talking_in: Option<Vec<ConversationId>>,
}

/// Reads the answer to `GET /people/{username}`.
pub(super) fn person(body: &[u8], bounds: Bounds) -> Result<Person, Flaw> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        username: Cow<'a, str>,
        #[serde(borrow, default, rename = "talkingIn")]
        talking_in: Option<List<'a>>,
    }
    let Object(person) = read::<Object<Raw<'_>>>(body)?;
    let talking_in = person.talking_in.map(|list| list.ids(bounds)).transpose()?;
    Ok(Person { username: person.username.into_owned(), talking_in })
}

/// A refusal in MAX's own words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// MAX's name for the error, such as `UnknownUserError`.
    pub(super) error: String,
    pub(super) description: Option<String>,
}

/// Reads a refusal. `None` if it does not have the form of MAX: other servers that speak JSON have other forms.
pub(super) fn refusal(body: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Raw {
        error: String,
        error_description: Option<String>,
        /// Present from MAX 3.5 on.
        #[serde(rename = "objectType")]
        object_type: Option<String>,
    }
    let Object(Raw { error, error_description, object_type }) = read::<Object<Raw>>(body).ok()?;
    // MAX's names are in camel case. Names such as `invalid_token` are from OAuth (RFC 6749), so a proxy sent them.
    let of_max = object_type.as_deref().is_none_or(|kind| kind == "error")
        && error.starts_with(|first: char| first.is_ascii_uppercase())
        && error.bytes().all(|byte| byte.is_ascii_alphanumeric());
    of_max.then_some(Refusal { error, description: error_description })
}

/// Reads the release of MAX from the answer to `GET /info`.
pub(super) fn version(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Info {
        version: String,
    }
    let Object(Info { version }) = read(body).ok()?;
    Some(version)
}

/// Reads JSON of any depth: serde_json skips unknown members without recursion, and the known ones are shallow.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Flaw> {
    serde_json::from_slice(body).map_err(|error| match body {
        [] => Flaw::Empty,
        _ if error.is_eof() => Flaw::CutOff,
        _ => Flaw::Garbage(error.to_string()),
    })
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// A list of conversations: `[{"id":..},..]` or `{"items":[{"id":..},..],..}`.
struct List<'a>(Vec<Object<Item<'a>>>);

impl List<'_> {
    /// Returns the ids in their order, without duplicates.
    fn ids(self, bounds: Bounds) -> Result<Vec<ConversationId>, Flaw> {
        let mut seen = HashSet::new();
        for Object(Item { id }) in &self.0 {
            if id.is_empty() || id.len() > bounds.id_bytes_max {
                return Err(Flaw::Garbage(format!("an id of {} bytes", id.len())));
            }
            seen.insert(id.as_ref());
            if seen.len() > bounds.conversations_max {
                return Err(Flaw::TooMany);
            }
        }
        let ids = self.0.iter().map(|Object(item)| item.id.as_ref());
        Ok(ids.filter(|id| seen.remove(id)).map(ConversationId::from).collect())
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            items: Vec<Object<Item<'a>>>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = List<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or an object with `items`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(List)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                Envelope::deserialize(MapAccessDeserializer::new(members)).map(|envelope| List(envelope.items))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads a struct from a JSON object only. serde by itself would also accept an array of the fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { conversations_max: 3, id_bytes_max: 8 };

    fn ids(list: &[ConversationId]) -> Vec<&str> {
        list.iter().map(ConversationId::as_str).collect()
    }

    fn list(json: &str) -> Result<Vec<String>, Flaw> {
        conversations(json.as_bytes(), BOUNDS).map(|list| ids(&list).into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn both_shapes_are_read() {
        for json in [
            r#"[{"id":"a","tags":["group"],"messages":0},{"objectType":"conversation","id":"b"}]"#,
            r#"{"totalItems":2,"items":[{"id":"a","participants":["x","y"]},{"id":"b"}]}"#,
            r#" {"items":[{"id":"\u0061"},{"id":"b","id2":{}}]} "#,
        ] {
            assert_eq!(list(json), Ok(vec!["a".to_owned(), "b".to_owned()]), "{json}");
        }
        assert_eq!(list("[]"), Ok(vec![]));
        assert_eq!(list(r#"{"items":[],"totalItems":0}"#), Ok(vec![]));
    }

    #[test]
    fn a_person_has_a_name_and_either_shape() {
        for talking_in in [r#"[{"id":"a","permissions":["read"]}]"#, r#"{"items":[{"id":"a"}],"totalItems":1}"#] {
            let json = format!(r#"{{"username":"Messi","displayName":"L","talkingIn":{talking_in},"x":[[]]}}"#);
            let Person { username, talking_in } = person(json.as_bytes(), BOUNDS).unwrap();
            assert_eq!((username.as_str(), ids(&talking_in.unwrap())), ("Messi", vec!["a"]));
        }
        for json in [r#"{"username":"x"}"#, r#"{"username":"x","talkingIn":null}"#] {
            assert_eq!(person(json.as_bytes(), BOUNDS), Ok(Person { username: "x".to_owned(), talking_in: None }));
        }
        for json in ["{}", r#"{"talkingIn":[]}"#, r#"{"username":1,"talkingIn":[]}"#, "[]"] {
            assert!(matches!(person(json.as_bytes(), BOUNDS), Err(Flaw::Garbage(_))), "{json}");
        }
    }

    #[test]
    fn duplicates_are_folded_and_the_rest_is_bounded() {
        let json = r#"[{"id":"b"},{"id":"a"},{"id":"b"},{"id":"c"},{"id":"a"}]"#;
        assert_eq!(list(json), Ok(vec!["b".to_owned(), "a".to_owned(), "c".to_owned()]));
        assert_eq!(list(r#"[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]"#), Err(Flaw::TooMany));
    }

    #[test]
    fn everything_else_is_garbage() {
        for json in [
            "",
            " x",
            "<html>",
            "null",
            "1",
            "\"a\"",
            "{}",
            r#"{"items":{}}"#,
            r#"{"items":null}"#,
            "[1]",
            "[null]",
            r#"["a"]"#,
            r#"[["a"]]"#,
            "[{}]",
            r#"[{"id":1}]"#,
            r#"[{"id":null}]"#,
            r#"[{"id":""}]"#,
            r#"[{"id":"123456789"}]"#,
            r#"[{"id":"a"},{"Id":"b"}]"#,
            r#"[{"id":"a"}] []"#,
            r#"[{"id":"\ud800"}]"#,
            r#"[{"id":"a","id":"b"}]"#,
            r#"{"items":[],"items":[]}"#,
        ] {
            assert!(matches!(list(json), Err(Flaw::Empty | Flaw::Garbage(_))), "{json}");
        }
        assert!(matches!(conversations(b"[{\"id\":\"\xff\"}]", BOUNDS), Err(Flaw::Garbage(_))));
    }

    #[test]
    fn an_answer_cut_anywhere_is_never_taken_for_whole() {
        let json = r#"{"totalItems":1,"items":[{"id":"abc","x":{"y":[1,"z"]}}]}"#;
        for end in 1..json.len() {
            assert_eq!(list(&json[..end]), Err(Flaw::CutOff), "{}", &json[..end]);
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = "[".repeat(1_000_000);
        let closed = format!(r#"[{{"x":{deep}{},"id":"a"}}]"#, "]".repeat(1_000_000));
        assert_eq!(list(&closed), Ok(vec!["a".to_owned()]));
        assert!(list(&deep).is_err());
        assert!(list(&r#"{"items":"#.repeat(100_000)).is_err());
        assert!(list(&r#"[{"id":"#.repeat(100_000)).is_err());
    }

    #[test]
    fn a_refusal_is_told_by_its_form() {
        for json in [
            r#"{"objectType":"error","error":"Unauthorized","error_description":"Invalid token."}"#,
            // 3.4.4 has no `objectType`.
            r#"{"error":"Unauthorized","error_description":"Invalid token."}"#,
        ] {
            let description = Some("Invalid token.".to_owned());
            let said = Refusal { error: "Unauthorized".to_owned(), description };
            assert_eq!(refusal(json.as_bytes()), Some(said));
        }
        let said = refusal(br#"{"error":"UnknownUserError"}"#).unwrap();
        assert_eq!((said.error.as_str(), said.description), ("UnknownUserError", None));
        for json in [
            "",
            "<html>",
            "404 Not Found\n\nThe resource could not be found.",
            r#"{"error":"unauthorized","error_description":"Full authentication is required"}"#,
            r#"{"error":"invalid_token","error_description":"The token expired"}"#,
            r#"{"error":"Not Found","error_description":""}"#,
            r#"{"error":404,"error_description":"x"}"#,
            r#"{"objectType":"person","error":"Unauthorized","error_description":"x"}"#,
            r#"["Unauthorized","x"]"#,
        ] {
            assert_eq!(refusal(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn a_version_is_read() {
        assert_eq!(version(br#"{"version":"5.3.26","max.server_id":"x"}"#).as_deref(), Some("5.3.26"));
        assert_eq!(version(b"{}"), None);
    }
}
