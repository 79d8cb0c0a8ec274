//! What the packets of all generations have in common as text.

/// The name of a namespace may take up this many bytes.
pub(super) const NAMESPACE_BYTES_MAX: usize = 256;

/// The namespace that was asked for, without the query that older clients hang on.
pub(super) fn without_query(namespace: &str) -> &str {
    namespace.split_once('?').map_or(namespace, |(path, _)| path)
}

/// The digits at the front, and the rest.
pub(super) fn take_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}
