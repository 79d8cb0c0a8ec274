//! The parts of text that the packets of all generations share.

/// Largest length of the name of a namespace.
pub(super) const NAMESPACE_BYTES_MAX: usize = 256;

/// Returns the namespace without the query that older clients append to it.
pub(super) fn without_query(namespace: &str) -> &str {
    namespace.split_once('?').map_or(namespace, |(path, _)| path)
}

/// Returns the digits at the front, and the rest.
pub(super) fn take_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}
