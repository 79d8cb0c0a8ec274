//! Holds the code to its shape: floors, no circles of files, purity, one front door to a mailbox, the form of a file,
//! and the rules of prose that are cheap to check. Each law is also given made-up sources that break it, to prove that
//! it notices.

mod circles;
mod floors;
mod form;
mod paths;
mod private_build;
mod prose;
mod source;
mod way_in;
mod words;

use std::path::Path;

use source::Source;

#[test]
fn the_code_keeps_its_shape() {
    let sources = Source::all(Path::new(env!("CARGO_MANIFEST_DIR")), &["benches", "src", "tests"]);
    let laws = [floors::breaches, form::breaches, prose::breaches, words::breaches];
    let mut breaches: Vec<_> = sources.iter().flat_map(|source| laws.iter().flat_map(|law| law(source))).collect();
    breaches.extend(circles::circles(&sources));
    breaches.sort();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}
