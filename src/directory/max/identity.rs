//! The headers that tell MAX who asks.

use awc::http::header::{HeaderName, HeaderValue};

use crate::directory::Failure;
use crate::event::{Code, Token, Username};

/// Returns the three headers that MAX needs with every call.
///
/// # Errors
/// As those of [`header`].
pub(super) fn identity(
    username: &Username,
    token: &Token,
    scope: HeaderValue,
) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let mut secret = header(token.reveal())?;
    secret.set_sensitive(true);
    Ok(vec![
        (HeaderName::from_static("x-oauth-token"), secret),
        (HeaderName::from_static("x-oauth-username"), header(username.as_str())?),
        (HeaderName::from_static("x-oauth-scope"), scope),
    ])
}

/// Returns a token, scope or username as the value of a header, in UTF-8.
///
/// # Errors
/// [`Code::Unauthorized`] if the text cannot be sent in a header: MAX accepts no such text from anybody.
pub(super) fn header(text: &str) -> Result<HeaderValue, Failure> {
    let value = (text.len() <= Token::BYTES_MAX).then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten();
    value.ok_or_else(|| Failure::new(Code::Unauthorized, "a username, token or scope that cannot be sent in a header"))
}
