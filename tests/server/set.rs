//! `maxtalk set`: the real program against a real server.

use std::process::{Output, Stdio};

use crate::support::fixture::Fixture;
use crate::support::process::maxtalk;

const KEY: &str = "key-of-the-operators";

/// Runs `maxtalk set` against a server. Returns its exit code, its output, and its errors.
fn set(server: &Fixture, key: &str, pairs: &[&str]) -> (i32, String, String) {
    let admin = server.admin_addr.to_string();
    let mut command = maxtalk(&["set", "--admin", &admin]);
    command.args(pairs).stdout(Stdio::piped());
    if !key.is_empty() {
        command.env("MAXTALK_ADMIN__TOKEN", key);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn settings_are_changed_and_listed() {
    let server = Fixture::start("");
    let changed = "mailbox.conversation: 2048 (default) -> 512\nmailbox.session: 16 (default) -> 8\n\
                   outbox.policy: \"fold\" (default) -> \"drop\"\n\n\
                   This holds until the next start. To keep it:\n\n\
                   [mailbox]\nconversation = 512\nsession = 8\n[outbox]\npolicy = \"drop\"\n";
    let pairs = ["outbox.policy=drop", "mailbox.conversation=512", "mailbox.session=8"];
    assert_eq!(set(&server, "", &pairs), (0, changed.to_owned(), String::new()));

    let (code, listed, _) = set(&server, "", &[]);
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = listed.lines().map(single).collect();
    assert_eq!((code, lines[0].as_str()), (0, "setting value source allowed"));
    assert!(lines.iter().any(|line| line.starts_with("mailbox.conversation 512 admin an integer")), "{listed}");
    assert!(lines.iter().any(|line| line.starts_with("mailbox.registry 20000 default an integer")), "{listed}");
    assert!(!listed.contains("server.listen"), "{listed}");
}

#[test]
fn a_refusal_names_all_problems_and_changes_nothing() {
    let server = Fixture::start("");
    let (code, output, errors) =
        set(&server, "", &["mailbox.conversation=0", "outbox.policy=flod", "mailbox.session=8"]);
    assert_eq!((code, output.as_str()), (1, ""));
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines[0].starts_with("maxtalk: mailbox.conversation = 0 (admin): out of range; allowed:"), "{errors}");
    assert!(lines[1].starts_with("maxtalk: outbox.policy = \"flod\" (admin): not such a word"), "{errors}");
    for (pair, said) in [
        ("server.workers=2", "server.workers: holds until the next start"),
        ("mailbox.conversatoin=2", "did you mean mailbox.conversation?"),
        ("mailbox.conversation=4000", "the first must be above the sum"),
    ] {
        let (code, _, errors) = set(&server, "", &[pair]);
        assert!(code == 1 && errors.contains(said), "{errors}");
    }
    assert!(!set(&server, "", &[]).1.contains(" admin "));
}

#[test]
fn what_is_no_pair_is_a_wrong_command_line() {
    let server = Fixture::start("");
    for pairs in [&["mailbox.conversation"][..], &["=5"], &["mailbox.session=1", "mailbox.session=2"], &["--what"]] {
        let (code, _, errors) = set(&server, "", pairs);
        assert!(code == 2 && errors.starts_with("error: "), "{pairs:?}: {errors}");
    }
}

#[test]
fn a_server_with_a_key_wants_it() {
    let server = Fixture::start(&format!("admin.token = {KEY:?}\nadmin.announce_token = \"key-of-a-back-end-01\""));
    for (key, named) in [
        ("", "here is admin.token = none (default)"),
        ("wrong-key-of-somebody", "here is admin.token = *** (environment variable MAXTALK_ADMIN__TOKEN)"),
        ("key-of-a-back-end-01", "this key may only announce news"),
    ] {
        let (code, _, errors) = set(&server, key, &["mailbox.conversation=512"]);
        assert!(code == 1 && errors.contains(named) && errors.contains("admin.token"), "{errors}");
        assert!(!errors.contains("somebody") && !errors.contains("back-end"), "{errors}");
    }
    assert_eq!(set(&server, KEY, &["mailbox.conversation=512"]).0, 0);
}
