//! The version of this program, with the commit and the day that the build script found.

use std::sync::LazyLock;

/// The version alone, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built; `None` where the build script found no history.
pub const COMMIT: Option<&str> = option_env!("BUILD_OF_MAXTALK_COMMIT");

/// The day of the commit, or the one that the build was given, such as `2026-11-27`.
pub const DATE: Option<&str> = option_env!("BUILD_OF_MAXTALK_DATE");

/// The version with commit and day as `rustc --version` shows them, such as `0.1.0 (4f1db65 2026-11-27)`.
pub static FULL: LazyLock<String> = LazyLock::new(|| full(VERSION, COMMIT, DATE));

fn full(version: &str, commit: Option<&str>, date: Option<&str>) -> String {
    let known: Vec<_> = commit.into_iter().chain(date).collect();
    if known.is_empty() { version.to_owned() } else { format!("{version} ({})", known.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_build_stands_behind_the_version() {
        for (commit, date, expected) in [
            (Some("4f1db65"), Some("2026-11-27"), "0.1.0 (4f1db65 2026-11-27)"),
            (Some("4f1db65"), None, "0.1.0 (4f1db65)"),
            (None, Some("2026-11-27"), "0.1.0 (2026-11-27)"),
            (None, None, "0.1.0"),
        ] {
            assert_eq!(full("0.1.0", commit, date), expected);
        }
    }
}
