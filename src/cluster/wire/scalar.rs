//! `timestamp` and `messageID`: plain values, written and read digit for digit.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::msgpack::Pack;
use super::reading::Rejected;
use super::tape::{Item, Value};
use crate::event::Scalar;

/// The form of a literal in MessagePack.
enum Form {
    Nil,
    Flag(bool),
    Unsigned(u64),
    Signed(i64),
    /// A number that may lose digits, which are written as text as well.
    Float(f64),
}

/// Writes a value. A number that is no integer of 64 bits is written as a double, for Node.
pub(super) fn write(pack: &mut Pack, scalar: &Scalar) {
    match scalar {
        Scalar::Text(text) => pack.text(text),
        Scalar::Literal(literal) => match form(literal) {
            Form::Nil => pack.nil(),
            Form::Flag(flag) => pack.flag(flag),
            Form::Unsigned(number) => pack.unsigned(number),
            Form::Signed(number) => pack.signed(number),
            Form::Float(number) => pack.float(number),
        },
    }
}

/// The digits of a number that [`write()`] writes as a double.
pub(super) fn digits(scalar: Option<&Scalar>) -> Option<&str> {
    match scalar? {
        Scalar::Literal(literal) if matches!(form(literal), Form::Float(_)) => Some(literal),
        _ => None,
    }
}

fn form(literal: &str) -> Form {
    match literal {
        "null" => return Form::Nil,
        "true" => return Form::Flag(true),
        "false" => return Form::Flag(false),
        _ => {}
    }
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (!digits.starts_with('0') || literal == "0");
    if is_canonical {
        if let Ok(number) = literal.parse() {
            return Form::Unsigned(number);
        }
        if let Ok(number) = literal.parse() {
            return Form::Signed(number);
        }
    }
    // A literal is a value of JSON, so it is a number here.
    literal.parse().map_or(Form::Nil, Form::Float)
}

/// Reads a value. `digits` is the number digit for digit, if it was written so.
pub(super) fn read(
    value: Option<Value<'_>>,
    digits: Option<&str>,
    bytes_max: usize,
) -> Result<Option<Scalar>, Rejected> {
    if let Some(digits) = digits {
        return number(digits, bytes_max).map(Some);
    }
    let Some(value) = value else { return Ok(None) };
    let scalar = match value.item() {
        Item::Nil => Scalar::Literal("null".into()),
        Item::Bool(true) => Scalar::Literal("true".into()),
        Item::Bool(false) => Scalar::Literal("false".into()),
        Item::Unsigned(number) => Scalar::Literal(number.to_string().into()),
        Item::Negative(number) => Scalar::Literal(number.to_string().into()),
        Item::Float(number) => Scalar::Literal(float(*number).into()),
        Item::Digits(digits) => Scalar::Literal((*digits).into()),
        Item::Text(text) if text.len() > bytes_max => return Err(Rejected::Value),
        Item::Text(text) => Scalar::Text((*text).into()),
        Item::Decoded(text) => Scalar::Text(text.clone()),
        Item::Time(milliseconds) => Scalar::Text(date(*milliseconds).ok_or(Rejected::Value)?.into()),
        Item::Binary => return Err(Rejected::Binary),
        Item::Undefined => return Ok(None),
        Item::Other | Item::Array(_) | Item::Map(_) => return Err(Rejected::Value),
    };
    let (Scalar::Literal(inner) | Scalar::Text(inner)) = &scalar;
    if inner.len() <= bytes_max { Ok(Some(scalar)) } else { Err(Rejected::Value) }
}

/// Reads a number of JSON. It is written into events as it is, so it has to be one.
fn number(digits: &str, bytes_max: usize) -> Result<Scalar, Rejected> {
    let json: &RawValue = serde_json::from_str(digits).map_err(|_| Rejected::Mark)?;
    let is_number = digits.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match Scalar::parse(json, bytes_max) {
        Ok(scalar) if is_number => Ok(scalar),
        _ => Err(Rejected::Mark),
    }
}

/// Returns a double as JavaScript writes it, but for the sign of an exponent. JSON has neither infinity nor NaN:
/// JavaScript writes `null`.
fn float(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        "null".into()
    } else if size == 0.0 {
        "0".into()
    } else if (1e-6..1e21).contains(&size) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

/// Returns a moment as JavaScript writes it into JSON. `None` if its year does not have four digits.
fn date(milliseconds: i64) -> Option<String> {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()?;
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second, milli) = date.to_hms_milli();
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}
