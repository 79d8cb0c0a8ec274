//! Who asks MAX, as its headers say it.

use awc::http::header::{HeaderName, HeaderValue};

use crate::directory::Failure;
use crate::event::{Code, Token, Username};

/// The three headers that MAX wants with every call.
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

/// Text as UTF-8 bytes. What cannot be a header cannot be anybody's token or scope either.
pub(super) fn header(text: &str) -> Result<HeaderValue, Failure> {
    let value = (text.len() <= Token::BYTES_MAX).then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten();
    value.ok_or_else(|| Failure::new(Code::Unauthorized, "a token or scope that cannot be sent in a header"))
}
