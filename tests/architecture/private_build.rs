//! Checks the crate as one program without a library. Everything in it is private, so the compiler finds unused items.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The items that the program does not use: the file, the name, and who needs the item nevertheless.
const NEEDED_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("src/actors/roster.rs", "is_empty", "clippy wants it beside `len`"),
    ("src/actors/roster.rs", "len", "the file's own tests"),
    ("src/board/sessions.rs", "card", "the file's own tests"),
    ("src/bench/target/child.rs", "addr", "tests/server/bench_target.rs, tests/server/fault_lab.rs"),
    ("src/bench/target.rs", "Child", "tests/server/bench_target.rs, tests/server/fault_lab.rs"),
    ("src/bench/target.rs", "ChildError", "tests/server/bench_target.rs"),
    ("src/bench/target.rs", "How", "tests/server/bench_target.rs"),
    ("src/cluster/wire/reading.rs", "ALL", "tests/wire, for both sets"),
    ("src/cluster/wire/reading.rs", "as_str", "tests/wire, for one of the sets"),
    ("src/protocol/handshake.rs", "Forbidden", "a row of the written protocol that no server sends"),
    ("src/metrics/labels.rs", "ALL", "tests of pages, for three of the sets"),
    ("src/metrics/table.rs", "build", "the registry, which holds a clone of it"),
    ("src/protocol/socketio.rs", "attachments", "tests/conformance/server.rs, which echoes them"),
    ("src/server.rs", "addr", "tests/support/fixture.rs"),
    ("src/server.rs", "admin_addr", "tests/support/fixture.rs"),
];

#[test]
#[ignore = "it checks the whole crate once more, so tests/run asks for it by name"]
fn a_private_build_has_no_dead_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("private-build");
    write_program(root, &scratch);
    let check = Command::new(env!("CARGO"))
        .args(["check", "--locked", "--bins", "--message-format=json", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
        .current_dir(&scratch)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    let dead: BTreeSet<_> = String::from_utf8(check.stdout).unwrap().lines().flat_map(dead_items).collect();
    let needed = NEEDED_ELSEWHERE.iter().map(|(file, name, _)| format!("{file}: {name}")).collect();
    let differences: Vec<_> = dead.symmetric_difference(&needed).cloned().collect();
    assert!(differences.is_empty(), "dead, or needless in the table:\n{}", differences.join("\n"));
}

/// Copies the crate, and moves the modules of its library into the program.
fn write_program(root: &Path, scratch: &Path) {
    if scratch.exists() {
        fs::remove_dir_all(scratch).unwrap();
    }
    let src = scratch.join("src");
    copy(&root.join("src"), &src);
    let text = |name: &str| fs::read_to_string(src.join(name)).unwrap();
    let library = text("lib.rs").replace("#[doc(hidden)]\npub mod testing;\n", "").replace("pub mod", "mod");
    let program = text("main.rs").replace("maxtalk::", "crate::");
    let program: String =
        program.lines().filter(|line| !line.starts_with("//!")).map(|line| line.to_owned() + "\n").collect();
    for file in ["lib.rs", "testing.rs"] {
        fs::remove_file(src.join(file)).unwrap();
    }
    fs::write(src.join("main.rs"), library + &program).unwrap();

    let mut manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    manifest.retain(|key, _| !matches!(key, "bench" | "example" | "lib" | "lints" | "test"));
    copy(&root.join(".packaging"), &scratch.join(".packaging"));
    fs::write(scratch.join("Cargo.toml"), manifest.to_string()).unwrap();
    fs::copy(root.join("Cargo.lock"), scratch.join("Cargo.lock")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, copied).unwrap();
        }
    }
}

/// Returns the items that a line of cargo's output calls unused, each with its file.
fn dead_items(line: &str) -> Vec<String> {
    let message = &serde_json::from_str::<Value>(line).unwrap()["message"];
    if !matches!(message["code"]["code"].as_str(), Some("dead_code" | "unused_imports")) {
        return Vec::new();
    }
    let spans = message["spans"].as_array().into_iter().flatten().filter(|span| span["is_primary"] == true);
    let items = spans.map(|span| {
        let column = |key: &str| span["text"][0][key].as_u64().unwrap() as usize - 1;
        let text = span["text"][0]["text"].as_str().unwrap().chars();
        let (start, end) = (column("highlight_start"), column("highlight_end"));
        let name: String = text.skip(start).take(end - start).collect();
        format!("{}: {name}", span["file_name"].as_str().unwrap())
    });
    items.collect()
}
