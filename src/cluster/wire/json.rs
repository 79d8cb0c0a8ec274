//! JSON, read into a [`Tape`].

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::reading::Rejected;
use super::tape::{DEPTH_MAX, Item, Tape};

/// Keys whose values are passed through, and therefore read digit for digit.
const PASSED_THROUGH: [&str; 2] = ["timestamp", "messageID"];

/// Reads one value, which takes all of the bytes.
pub(super) fn read<'a>(bytes: &'a [u8], tape: &mut Tape<'a>) -> Result<(), Rejected> {
    let text = std::str::from_utf8(bytes).map_err(|_| Rejected::Text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut refusal = None;
    let filled = Fill { tape, refusal: &mut refusal, depth: 0 }.deserialize(&mut json);
    filled.and_then(|()| json.end()).map_err(|_| refusal.unwrap_or(Rejected::Syntax))
}

/// Pushes one value that stands inside of `depth` arrays and maps.
struct Fill<'t, 'a> {
    tape: &'t mut Tape<'a>,
    /// The reason for an error that is none of JSON's.
    refusal: &'t mut Option<Rejected>,
    depth: usize,
}

impl<'a> Fill<'_, 'a> {
    fn push<E>(self, item: Item<'a>) -> Result<(), E> {
        self.tape.push(item);
        Ok(())
    }

    fn refuse<E: Error>(&mut self, reason: Rejected) -> E {
        *self.refusal = Some(reason);
        E::custom(reason)
    }

    /// Begins an array or a map.
    fn begin<E: Error>(&mut self) -> Result<usize, E> {
        if self.depth == DEPTH_MAX { Err(self.refuse(Rejected::TooDeep)) } else { Ok(self.tape.begin()) }
    }

    /// The seed of the next value inside of this one.
    fn inner(&mut self) -> Fill<'_, 'a> {
        Fill { tape: &mut *self.tape, refusal: &mut *self.refusal, depth: self.depth + 1 }
    }
}

impl<'a> DeserializeSeed<'a> for Fill<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Fill<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.push(Item::Nil)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.push(Item::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.push(Item::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.push(Item::Negative(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.push(Item::Float(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.push(Item::Text(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.push(Item::Decoded(text.into()))
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let begin = self.begin()?;
        while elements.next_element_seed(self.inner())?.is_some() {}
        self.tape.end(begin, Item::Array);
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut members: A) -> Result<(), A::Error> {
        let begin = self.begin()?;
        while let Some(Key(key)) = members.next_key()? {
            let is_passed_through = PASSED_THROUGH.contains(&&*key);
            self.tape.push(match key {
                Cow::Borrowed(key) => Item::Text(key),
                Cow::Owned(key) => Item::Decoded(key.into()),
            });
            if is_passed_through {
                let value: &RawValue = members.next_value()?;
                let item = literal(value.get()).map_err(|reason| self.refuse(reason))?;
                self.tape.push(item);
            } else {
                members.next_value_seed(self.inner())?;
            }
        }
        self.tape.end(begin, Item::Map);
        Ok(())
    }
}

/// The key of a member.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a value that is passed through.
fn literal(json: &str) -> Result<Item<'_>, Rejected> {
    Ok(match json.as_bytes().first() {
        Some(b'{' | b'[') => Item::Other,
        Some(b'"') if json.contains('\\') => {
            let text: String = serde_json::from_str(json).map_err(|_| Rejected::Text)?;
            Item::Decoded(text.into())
        }
        Some(b'"') => Item::Text(json.get(1..json.len() - 1).ok_or(Rejected::Syntax)?),
        Some(b'n') => Item::Nil,
        Some(b't') => Item::Bool(true),
        Some(b'f') => Item::Bool(false),
        _ => Item::Digits(json),
    })
}
