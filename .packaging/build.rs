//! The build script: tells the compiler which commit is built, and of which day it is, for `maxtalk --version`.
//!
//! Both come from git, unless `MAXTALK_COMMIT` names the commit and `SOURCE_DATE_EPOCH` the time, in seconds since 1970:
//! that is for builds where git or the history is missing. Without all of these the version stands alone. The day is
//! that of the commit, not of the build, so that two builds of one commit are the same.

use std::env;
use std::path::Path;
use std::process::Command;

use time::OffsetDateTime;

/// Characters of a commit that are shown: seven, as git itself shows them where they suffice.
const COMMIT_CHARACTERS: usize = 7;

fn main() {
    for line in lines(Path::new("."), |variable| env::var(variable).ok()) {
        println!("{line}");
    }
}

/// Returns what cargo has to know about sources in a folder. `variable` reads the environment.
pub fn lines(folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let git = Git { folder };
    let mut lines = vec!["cargo::rerun-if-changed=.packaging/build.rs".to_owned()];
    lines.extend(["MAXTALK_COMMIT", "SOURCE_DATE_EPOCH"].map(|name| format!("cargo::rerun-if-env-changed={name}")));
    let has_history = git.is_top();
    if has_history {
        lines.extend(git.files_of_head().iter().map(|file| format!("cargo::rerun-if-changed={file}")));
    }
    let of_head = |format: &str| git.run(&["log", "-1", "--no-show-signature", format]).filter(|_| has_history);

    let named = variable("MAXTALK_COMMIT").filter(|commit| is_commit(commit));
    if let Some(commit) = named.or_else(|| of_head("--format=%H")) {
        lines.push(format!("cargo::rustc-env=BUILD_OF_MAXTALK_COMMIT={}", &commit[..COMMIT_CHARACTERS]));
    }
    let told = variable("SOURCE_DATE_EPOCH").and_then(|epoch| epoch.parse().ok());
    let seconds = told.or_else(|| of_head("--format=%ct")?.parse().ok());
    if let Some(time) = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) {
        lines.push(format!("cargo::rustc-env=BUILD_OF_MAXTALK_DATE={}", time.date()));
    }
    lines
}

fn is_commit(text: &str) -> bool {
    text.len() >= COMMIT_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The history of the sources in a folder.
struct Git<'a> {
    folder: &'a Path,
}

impl Git<'_> {
    /// Whether the folder is the top of a repository. Sources that lie within the repository of another project have no
    /// history of their own.
    fn is_top(&self) -> bool {
        self.run(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty())
    }

    /// Returns files of which one changes when another commit is checked out or made: the log of HEAD gets a line then,
    /// and in a repository without such logs the file of the branch changes.
    fn files_of_head(&self) -> Vec<String> {
        let branch = self.run(&["symbolic-ref", "--quiet", "HEAD"]);
        let files = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
        let paths = files.filter_map(|file| self.run(&["rev-parse", "--git-path", file]));
        // Cargo would run this script at every build for a file that does not exist.
        paths.filter(|path| self.folder.join(path).is_file()).collect()
    }

    /// Returns what git prints, without the line break at its end. `None` if it is missing or fails.
    fn run(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("git").current_dir(self.folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim_end().to_owned())
    }
}
