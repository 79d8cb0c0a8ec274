//! The failures of MAX in the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use crate::directory::Failure;
use crate::event::Code;
use crate::logging::limiter::{Limiter, Suppressed};

/// Logs the failures of MAX. Those that the operator has to know of are warnings, at most one a second for each code,
/// so that a frequent one does not hide a rare one. Those that concern only the client that joins are debug lines.
#[derive(Debug, Default)]
pub struct Complaints(RefCell<HashMap<Code, Limiter>>);

impl Complaints {
    /// Logs a failure.
    pub fn log(&self, failure: &Failure, now: Instant) {
        match failure.code {
            Code::MaxTimeout | Code::MaxUnavailable | Code::MaxError | Code::MaxGarbage | Code::MaxTooLarge => {}
            _ => return log::debug!("a join was refused: {failure}"),
        }
        if let Some(suppressed) = self.admit(failure.code, now) {
            log::warn!("{failure}{suppressed}");
        }
    }

    /// Returns how many warnings of this code were suppressed since its last one; `None` if this one is too.
    fn admit(&self, code: Code, now: Instant) -> Option<Suppressed> {
        self.0.borrow_mut().entry(code).or_insert_with(|| Limiter::new(1)).admit(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_frequent_failure_does_not_hide_a_rare_one() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let said = |code, ms| {
            let suppressed = complaints.admit(code, start + Duration::from_millis(ms));
            suppressed.map(|suppressed| suppressed.to_string())
        };
        let line = |end: &str| Some(end.to_owned());
        assert_eq!(said(Code::MaxTimeout, 0), line(""));
        for ms in 1..100 {
            assert_eq!(said(Code::MaxTimeout, ms), None, "at {ms} ms");
        }
        assert_eq!(said(Code::MaxGarbage, 100), line(""), "the first one of its code");
        assert_eq!((said(Code::MaxGarbage, 200), said(Code::MaxTimeout, 999)), (None, None));
        // Each code counts its own.
        assert_eq!(
            (said(Code::MaxTimeout, 1000), said(Code::MaxGarbage, 1100)),
            (line(" (and 100 more before)"), line(" (and 1 more before)"))
        );
    }
}
