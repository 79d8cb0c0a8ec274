//! The errors of the demo, in MAX's own form.

/// An error of a call: its status, and the two texts of MAX's error form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MaxError {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

impl MaxError {
    pub(crate) fn new(status: u16, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into() }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Invalid token.")
    }

    pub(crate) fn invalid(description: impl Into<String>) -> Self {
        Self::new(400, "ValidationError", description)
    }

    pub(crate) fn bad_search(description: &str) -> Self {
        Self::new(400, "InvalidSearchParams", description)
    }

    pub(crate) fn not_found(description: impl Into<String>) -> Self {
        Self::new(404, "ObjectNotFound", description)
    }

    pub(super) fn forbidden(description: impl Into<String>) -> Self {
        Self::new(403, "Forbidden", description)
    }

    pub(super) fn unknown_user(name: &str) -> Self {
        Self::new(400, "UnknownUserError", format!("Unknown user: {}", name.escape_debug()))
    }
}
