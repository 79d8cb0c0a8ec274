//! MessagePack, as far as Socket.IO uses it: reading into a [`Tape`], and writing.

use rmp::{Marker, encode};

use super::reading::Rejected;
use super::tape::{DEPTH_MAX, Item, Tape};

/// Reads one value, which takes all of the bytes.
pub(super) fn read<'a>(bytes: &'a [u8], tape: &mut Tape<'a>) -> Result<(), Rejected> {
    let mut reader = Reader { rest: bytes, tape };
    reader.value(0)?;
    if reader.rest.is_empty() { Ok(()) } else { Err(Rejected::Syntax) }
}

struct Reader<'a, 't> {
    rest: &'a [u8],
    tape: &'t mut Tape<'a>,
}

impl<'a> Reader<'a, '_> {
    /// Reads one value that stands inside of `depth` arrays and maps.
    fn value(&mut self, depth: usize) -> Result<(), Rejected> {
        let [marker] = self.take()?;
        let item = match Marker::from_u8(marker) {
            Marker::Null => Item::Nil,
            Marker::False => Item::Bool(false),
            Marker::True => Item::Bool(true),
            Marker::FixPos(number) => Item::Unsigned(number.into()),
            Marker::FixNeg(number) => signed(number.into()),
            Marker::U8 => Item::Unsigned(self.unsigned::<1>()?),
            Marker::U16 => Item::Unsigned(self.unsigned::<2>()?),
            Marker::U32 => Item::Unsigned(self.unsigned::<4>()?),
            Marker::U64 => Item::Unsigned(self.unsigned::<8>()?),
            Marker::I8 => signed(i8::from_be_bytes(self.take()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.take()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.take()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.take()?)),
            Marker::F32 => Item::Float(f32::from_be_bytes(self.take()?).into()),
            Marker::F64 => Item::Float(f64::from_be_bytes(self.take()?)),
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => self.text_of::<1>()?,
            Marker::Str16 => self.text_of::<2>()?,
            Marker::Str32 => self.text_of::<4>()?,
            Marker::Bin8 => self.binary::<1>()?,
            Marker::Bin16 => self.binary::<2>()?,
            Marker::Bin32 => self.binary::<4>()?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.extension_of::<1>()?,
            Marker::Ext16 => self.extension_of::<2>()?,
            Marker::Ext32 => self.extension_of::<4>()?,
            Marker::FixArray(len) => return self.array(len.into(), depth),
            Marker::Array16 => return self.array_of::<2>(depth),
            Marker::Array32 => return self.array_of::<4>(depth),
            Marker::FixMap(len) => return self.map(len.into(), depth),
            Marker::Map16 => return self.map_of::<2>(depth),
            Marker::Map32 => return self.map_of::<4>(depth),
            Marker::Reserved => return Err(Rejected::Syntax),
        };
        self.tape.push(item);
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Rejected> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Rejected::Syntax)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Takes an integer of `N` bytes.
    fn unsigned<const N: usize>(&mut self) -> Result<u64, Rejected> {
        Ok(self.take::<N>()?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn bytes(&mut self, len: u64) -> Result<&'a [u8], Rejected> {
        let len = usize::try_from(len).map_err(|_| Rejected::Syntax)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Rejected::Syntax)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self, len: u64) -> Result<Item<'a>, Rejected> {
        std::str::from_utf8(self.bytes(len)?).map(Item::Text).map_err(|_| Rejected::Text)
    }

    fn text_of<const N: usize>(&mut self) -> Result<Item<'a>, Rejected> {
        let len = self.unsigned::<N>()?;
        self.text(len)
    }

    fn binary<const N: usize>(&mut self) -> Result<Item<'a>, Rejected> {
        let len = self.unsigned::<N>()?;
        self.bytes(len).map(|_| Item::Binary)
    }

    fn extension_of<const N: usize>(&mut self) -> Result<Item<'a>, Rejected> {
        let len = self.unsigned::<N>()?;
        self.extension(len)
    }

    /// Reads the type and the data of an extension. Node's encoders write a date as the timestamp of MessagePack since
    /// 8.3 of the adapter, and before that as type 0 with 8 bytes; they wrote `undefined` as type 0 with one byte.
    fn extension(&mut self, len: u64) -> Result<Item<'a>, Rejected> {
        let kind = i8::from_be_bytes(self.take()?);
        let data = self.bytes(len)?;
        let wide = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let time = |seconds: i64, nanoseconds: u64| {
            let milliseconds = i64::try_from(nanoseconds / 1_000_000).unwrap_or_default();
            Item::Time(seconds.saturating_mul(1000).saturating_add(milliseconds))
        };
        Ok(match (kind, data.len()) {
            (-1, 4) => time(wide(data).cast_signed(), 0),
            (-1, 8) => time((wide(data) & ((1 << 34) - 1)).cast_signed(), wide(data) >> 34),
            (-1, 12) => time(wide(&data[4..]).cast_signed(), wide(&data[..4])),
            (0, 8) => Item::Time(wide(data).cast_signed()),
            (0, 1) => Item::Undefined,
            _ => Item::Other,
        })
    }

    fn array_of<const N: usize>(&mut self, depth: usize) -> Result<(), Rejected> {
        let len = self.unsigned::<N>()?;
        self.array(len, depth)
    }

    fn map_of<const N: usize>(&mut self, depth: usize) -> Result<(), Rejected> {
        let len = self.unsigned::<N>()?;
        self.map(len, depth)
    }

    fn array(&mut self, len: u64, depth: usize) -> Result<(), Rejected> {
        self.content(len, Item::Array, depth)
    }

    fn map(&mut self, len: u64, depth: usize) -> Result<(), Rejected> {
        self.content(2 * len, Item::Map, depth)
    }

    fn content(&mut self, values: u64, container: fn(usize) -> Item<'a>, depth: usize) -> Result<(), Rejected> {
        if depth == DEPTH_MAX {
            return Err(Rejected::TooDeep);
        }
        let begin = self.tape.begin();
        for _ in 0..values {
            self.value(depth + 1)?;
        }
        self.tape.end(begin, container);
        Ok(())
    }
}

fn signed<'a>(number: i64) -> Item<'a> {
    u64::try_from(number).map_or(Item::Negative(number), Item::Unsigned)
}

/// Writes MessagePack into memory, which cannot fail.
#[derive(Debug)]
pub(super) struct Pack(encode::ByteBuf);

impl Pack {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(encode::ByteBuf::with_capacity(bytes))
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Begins an array. Its `len` elements follow.
    pub(super) fn array(&mut self, len: usize) {
        encode::write_array_len(&mut self.0, Self::len(len)).ok();
    }

    /// Begins a map. Its `len` pairs of a key and a value follow.
    pub(super) fn map(&mut self, len: usize) {
        encode::write_map_len(&mut self.0, Self::len(len)).ok();
    }

    pub(super) fn text(&mut self, text: &str) {
        encode::write_str(&mut self.0, text).ok();
    }

    pub(super) fn unsigned(&mut self, number: u64) {
        encode::write_uint(&mut self.0, number).ok();
    }

    pub(super) fn signed(&mut self, number: i64) {
        encode::write_sint(&mut self.0, number).ok();
    }

    pub(super) fn float(&mut self, number: f64) {
        encode::write_f64(&mut self.0, number).ok();
    }

    pub(super) fn flag(&mut self, flag: bool) {
        encode::write_bool(&mut self.0, flag).ok();
    }

    pub(super) fn nil(&mut self) {
        encode::write_nil(&mut self.0).ok();
    }

    /// No list of ours has four billion elements.
    fn len(len: usize) -> u32 {
        u32::try_from(len).unwrap_or(u32::MAX)
    }
}
