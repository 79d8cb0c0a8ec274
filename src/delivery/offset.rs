//! The offsets of events, by which a client says what it has heard before its connection was lost. An offset is drawn
//! when an event is encoded, and all readers of a broadcast get the same one. Offsets rise within a process, and from
//! one process of a machine to the next, because the first one is made of the time.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The digits of an offset, in the order of ASCII.
const DIGITS: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// The number of digits: 54 bits, which are enough for 500 years of microseconds.
const LEN: usize = 9;

static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(u64::try_from(since_epoch.as_micros()).unwrap_or(0))
});

/// The offset of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(u64);

impl Offset {
    /// Draws an offset that no other event has.
    pub fn draw() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Reads an offset. `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != LEN {
            return None;
        }
        let digit = |byte: u8| DIGITS.binary_search(&byte).ok().map(|digit| digit as u64);
        text.bytes().try_fold(0, |number, byte| Some(number << 6 | digit(byte)?)).map(Self)
    }

    /// Returns the offset as an argument of an event: a string of JSON.
    pub fn json(self) -> String {
        let digit = |at: usize| char::from(DIGITS[(self.0 >> (6 * at)) as usize % DIGITS.len()]);
        let mut json = String::with_capacity(LEN + 2);
        json.push('"');
        json.extend((0..LEN).rev().map(digit));
        json.push('"');
        json
    }

    /// Returns an event in Engine.IO 4 without its offset. The nodes of a cluster give the same event other offsets.
    /// `None` if the packet has none.
    pub fn stem(packet: &str) -> Option<&str> {
        Self::of_packet(packet.as_bytes())?;
        packet.get(..packet.len() - LEN - 4)
    }

    /// Returns the offset at the end of an event in Engine.IO 4: `42/max,["update",{...},"<offset>"]`. `None` if the
    /// packet has none.
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        let event = packet.strip_prefix(b"42")?.strip_suffix(b"\"]")?;
        let (rest, offset) = event.split_at_checked(event.len().checked_sub(LEN)?)?;
        rest.ends_with(b",\"").then_some(())?;
        Self::parse(std::str::from_utf8(offset).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_rise_and_are_read_back() {
        let drawn: Vec<_> = (0..100).map(|_| Offset::draw()).collect();
        assert!(drawn.is_sorted_by(|one, next| one < next));
        let texts: Vec<_> = drawn.iter().map(|offset| offset.json()).collect();
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == LEN + 2), "{texts:?}");
        for (offset, text) in drawn.iter().zip(&texts) {
            assert_eq!(Offset::parse(text.trim_matches('"')), Some(*offset));
            let packet = format!(r#"42/max,["update",{{"n":1}},{text}]"#);
            assert_eq!(Offset::of_packet(packet.as_bytes()), Some(*offset));
            assert_eq!(Offset::stem(&packet), Some(r#"42/max,["update",{"n":1}"#));
        }
        assert!(DIGITS.is_sorted(), "for the search");
    }

    #[test]
    fn other_packets_and_texts_have_no_offset() {
        for text in ["", "Q84uw3l", "0123456789", "01234567\"", "éééé0"] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
        for packet in [
            "2",
            "42",
            r#"42"]"#,
            r#"42/max,["update",{"n":1}]"#,
            r#"43/max,1["x","012345678"]"#,
            r#"42/max,["x","short"]"#,
            r#"42/max,["x",{"a":"b","c":"012345678"}]"#,
            r#"42/max,["x","0123456789"]"#,
        ] {
            assert_eq!(Offset::of_packet(packet.as_bytes()), None, "{packet}");
            assert_eq!(Offset::stem(packet), None, "{packet}");
        }
    }
}
