//! Writes what others may send: any value in MessagePack, of a value of JSON in which a text that begins with `\0`
//! stands for raw bytes.

use rmp::encode;
use serde_json::Value;

/// A text that stands for raw bytes in [`pack`].
pub fn raw(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\0{digits}").into()
}

/// Returns a value in MessagePack.
pub fn pack(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, value);
    bytes
}

fn push(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => encode::write_nil(bytes).unwrap(),
        Value::Bool(flag) => encode::write_bool(bytes, *flag).unwrap(),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                encode::write_uint(bytes, number).map(drop).unwrap();
            } else if let Some(number) = number.as_i64() {
                encode::write_sint(bytes, number).map(drop).unwrap();
            } else {
                encode::write_f64(bytes, number.as_f64().unwrap()).unwrap();
            }
        }
        Value::String(text) => match text.strip_prefix('\0') {
            Some(digits) => bytes.extend(super::bytes_of(digits)),
            None => encode::write_str(bytes, text).unwrap(),
        },
        Value::Array(elements) => {
            encode::write_array_len(bytes, elements.len() as u32).map(drop).unwrap();
            elements.iter().for_each(|element| push(bytes, element));
        }
        Value::Object(members) => {
            encode::write_map_len(bytes, members.len() as u32).map(drop).unwrap();
            for (key, value) in members {
                push(bytes, &Value::from(key.as_str()));
                push(bytes, value);
            }
        }
    }
}
