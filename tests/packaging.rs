//! What packages take from the program: the commit that it was built from, the manual, and the completions.

#![allow(clippy::unwrap_used, reason = "that is how a test says what it takes for granted")]

#[path = "../.packaging/build.rs"]
#[allow(dead_code, reason = "the tests have a `main` of their own")]
mod build;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::process::maxtalk;

/// A second of 2026-11-27.
const EPOCH: &str = "1795780800";

/// Runs maxtalk. Returns its exit code, its output, and its errors.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = maxtalk(arguments).stdout(Stdio::piped()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A folder for sources.
struct Sources(tempfile::TempDir);

impl Sources {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(self.0.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.org");
            command.env(format!("GIT_{who}_DATE"), format!("{EPOCH} +1400"));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self) -> String {
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Does what the build script does. Returns the commit and the day that it found, and the files that it watches.
    fn build(&self, folder: &str, variables: &[(&str, &str)]) -> (Option<String>, Option<String>, Vec<PathBuf>) {
        let folder = self.0.path().join(folder);
        let variable = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
        let lines = build::lines(&folder, variable);
        let all = |start: &str| lines.iter().filter_map(|line| line.strip_prefix(start)).collect::<Vec<_>>();
        let watched = all("cargo::rerun-if-changed=").into_iter().skip(1).map(|path| folder.join(path)).collect();
        let one = |start| all(start).pop().map(str::to_owned);
        (one("cargo::rustc-env=BUILD_OF_MAXTALK_COMMIT="), one("cargo::rustc-env=BUILD_OF_MAXTALK_DATE="), watched)
    }
}

/// The contents of these files, each of which exists.
fn read(files: &[PathBuf]) -> Vec<Vec<u8>> {
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn a_build_knows_its_commit_and_notices_the_next_one() {
    let sources = Sources::new();
    sources.git(&["init", "--quiet"]);
    assert_eq!(sources.build(".", &[]).0, None, "there is no commit yet");
    for with_logs in [true, false] {
        if !with_logs {
            sources.git(&["config", "core.logAllRefUpdates", "false"]);
            fs::remove_dir_all(sources.0.path().join(".git/logs")).unwrap();
        }
        let first = sources.commit();
        let day = Some("2026-11-27".to_owned());
        let (commit, date, watched) = sources.build(".", &[]);
        assert_eq!((commit.as_deref(), date), (Some(&first[..7]), day), "{with_logs}");
        let before = read(&watched);
        assert_eq!(before, read(&watched));
        sources.git(&["commit", "--quiet", "--allow-empty", "--message", "y"]);
        assert_ne!(before, read(&watched), "the next commit is not noticed, {watched:?}");
        let before = read(&watched);
        sources.git(&["checkout", "--quiet", "--detach", "HEAD~1"]);
        assert_ne!(before, read(&watched), "another commit is not noticed, {watched:?}");
    }
}

#[test]
fn a_build_without_a_history_is_told_or_knows_nothing() {
    let sources = Sources::new();
    let nothing = (None, None, Vec::new());
    assert_eq!(sources.build(".", &[]), nothing);
    // An archive below a folder of somebody else's history.
    sources.git(&["init", "--quiet"]);
    sources.commit();
    fs::create_dir(sources.0.path().join("archive")).unwrap();
    assert_eq!(sources.build("archive", &[]), nothing);

    let told = |commit: &str, epoch: &str| {
        let (commit, date, _) = sources.build("archive", &[("MAXTALK_COMMIT", commit), ("SOURCE_DATE_EPOCH", epoch)]);
        (commit, date)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told("0123456789abcdef", "951782400"), (some("0123456"), some("2000-02-29")));
    assert_eq!(told("", ""), (None, None));
    assert_eq!(told("nothing", "0"), (None, some("1970-01-01")));
    let (_, date, _) = sources.build(".", &[("SOURCE_DATE_EPOCH", "951782400")]);
    assert_eq!(date, some("2000-02-29"), "the variable goes before the history");
}

#[test]
fn a_shell_understands_its_completions() {
    for (shell, part) in [
        ("bash", "complete -F _maxtalk"),
        ("elvish", "edit:completion:arg-completer[maxtalk]"),
        ("fish", "complete -c maxtalk"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef maxtalk"),
    ] {
        let (code, script, errors) = run(&["completions", shell]);
        assert_eq!((code, errors.as_str()), (0, ""));
        assert!(script.contains(part) && script.contains("healthcheck") && script.contains("sessions"), "{script}");
    }
    let (_, script, _) = run(&["completions", "bash"]);
    let completed = "COMP_WORDS=(maxtalk heal); COMP_CWORD=1; _maxtalk maxtalk heal maxtalk; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash").args(["-c", &format!("{script}\n{completed}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "healthcheck\n", "{output:?}");

    let (code, _, errors) = run(&["completions", "tcsh"]);
    assert!(code == 2 && errors.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{errors}");
}

#[test]
fn the_manual_is_printed_whole_by_page_or_into_files() {
    let title = |name: &str| format!(".TH {name} 1");
    let (code, whole, _) = run(&["man"]);
    assert_eq!(code, 0);
    let (code, page, _) = run(&["man", "healthcheck"]);
    assert!(code == 0 && page.contains(&title("MAXTALK-HEALTHCHECK")) && page.contains("timeout"), "{page}");
    assert!(whole.contains(&title("MAXTALK")) && whole.contains(&page), "{whole}");

    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "--dir", folder.path().to_str().unwrap()]), (0, String::new(), String::new()));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("maxtalk-healthcheck.1"), page);
    assert!(whole.starts_with(&read("maxtalk.1")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), whole.matches("\n.TH ").count());

    assert_eq!(run(&["man", "--dir", "/nowhere"]).0, 1);
    let (code, _, errors) = run(&["man", "srve"]);
    assert!(code == 2 && errors.contains("\"srve\" is not a command of maxtalk"), "{errors}");
    assert!(Path::new("/nowhere").metadata().is_err());
}
