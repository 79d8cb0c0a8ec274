//! The fate of news that does not fit into an outbox.

/// What becomes of news that does not fit into the outbox of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutboxPolicy {
    /// The news is folded by conversation, and told when the reader has caught up.
    #[default]
    Fold,
    /// The reader is closed.
    Close,
    /// The news is left out, and the reader is not told.
    Drop,
}

impl OutboxPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Fold, Self::Close, Self::Drop];

    /// Returns the policy of this name. `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }

    /// Returns the name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Close => "close",
            Self::Drop => "drop",
        }
    }
}
