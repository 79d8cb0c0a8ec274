//! The way in: `src/lib.rs` walks through files by name, and each of them exists.

use std::fs;
use std::path::Path;

/// The files that a text names in backticks and that do not exist below `src`.
fn missing<'a>(text: &'a str, src: &Path) -> Vec<&'a str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let files = quoted.filter(|name| name.ends_with(".rs"));
    files.filter(|name| !src.join(name).is_file()).collect()
}

#[test]
fn the_way_in_names_files_that_exist() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = fs::read_to_string(src.join("lib.rs")).unwrap();
    assert!(text.matches(".rs`").count() > 20, "the walk is gone");
    assert_eq!(missing(&text, &src), [""; 0]);
    assert_eq!(missing("`lib.rs` and `a/b.rs`, `c` and\n`server.rs`", &src), ["a/b.rs"]);
}
