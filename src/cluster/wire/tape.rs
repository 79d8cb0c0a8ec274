//! A decoded message: its values in the order of the bytes, in one list, with borrowed text. Both encodings are read
//! into it. A message of the usual length takes no memory of its own.

use smallvec::SmallVec;

/// The levels of arrays and maps that a message may have.
pub const DEPTH_MAX: usize = 8;

/// One value. An array or a map stands before its content.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Nil,
    /// JavaScript's `undefined`: what has it as its value is absent.
    Undefined,
    Bool(bool),
    Unsigned(u64),
    /// An integer below zero.
    Negative(i64),
    Float(f64),
    /// A number of JSON, as it is written.
    Digits(&'a str),
    Text(&'a str),
    /// A text that had to be decoded.
    Decoded(Box<str>),
    /// A moment, in milliseconds since 1970.
    Time(i64),
    Binary,
    /// No plain value: an extension that is not known, or an array or a map whose content is not read.
    Other,
    /// An array, and the number of items that it takes together with its content.
    Array(usize),
    /// A map, and the number of items that it takes together with its content: keys and values by turns.
    Map(usize),
}

impl Item<'_> {
    /// The number of items that the value takes.
    fn extent(&self) -> usize {
        match self {
            Self::Array(extent) | Self::Map(extent) => *extent,
            _ => 1,
        }
    }
}

/// The items of one message.
#[derive(Debug, Default)]
pub(super) struct Tape<'a>(SmallVec<[Item<'a>; 64]>);

impl<'a> Tape<'a> {
    pub(super) fn push(&mut self, item: Item<'a>) {
        self.0.push(item);
    }

    /// Begins an array or a map. Its content follows, and then [`Tape::end`] with the returned number.
    pub(super) fn begin(&mut self) -> usize {
        self.push(Item::Nil);
        self.0.len() - 1
    }

    /// Ends an array or a map.
    pub(super) fn end(&mut self, begin: usize, container: fn(usize) -> Item<'a>) {
        let extent = self.0.len() - begin;
        if let Some(item) = self.0.get_mut(begin) {
            *item = container(extent);
        }
    }

    /// The whole message. `None` if nothing was pushed.
    pub(super) fn root(&self) -> Option<Value<'_>> {
        Values { rest: &self.0 }.next()
    }
}

/// A value with its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'t> {
    item: &'t Item<'t>,
    content: &'t [Item<'t>],
}

impl<'t> Value<'t> {
    pub(super) fn item(self) -> &'t Item<'t> {
        self.item
    }

    pub(super) fn text(self) -> Option<&'t str> {
        match self.item {
            Item::Text(text) => Some(text),
            Item::Decoded(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an integer from 0 on.
    pub(super) fn number(self) -> Option<u64> {
        match self.item {
            Item::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn flag(self) -> Option<bool> {
        match self.item {
            Item::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub(super) fn is_nil(self) -> bool {
        *self.item == Item::Nil
    }

    /// The elements of an array. `None` if it is none.
    pub(super) fn elements(self) -> Option<Values<'t>> {
        matches!(self.item, Item::Array(_)).then_some(Values { rest: self.content })
    }

    /// The members of a map whose keys are text, without those that are undefined. `None` if it is none. If a key comes
    /// twice, the last one counts in JavaScript, and with those who assign in this order.
    pub(super) fn members(self) -> Option<impl Iterator<Item = (&'t str, Self)>> {
        let mut rest = match self.item {
            Item::Map(_) => Values { rest: self.content },
            _ => return None,
        };
        let pairs = std::iter::from_fn(move || Some((rest.next()?, rest.next()?)));
        Some(pairs.filter_map(|(key, value): (Self, Self)| {
            (*value.item != Item::Undefined).then_some(())?;
            Some((key.text()?, value))
        }))
    }
}

/// Values that follow one another.
#[derive(Clone, Debug)]
pub(super) struct Values<'t> {
    rest: &'t [Item<'t>],
}

impl<'t> Iterator for Values<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        let (item, after) = self.rest.split_first()?;
        let (content, rest) = after.split_at_checked(item.extent() - 1)?;
        self.rest = rest;
        Some(Value { item, content })
    }
}
