//! No files import one another in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::paths;
use crate::source::Source;

/// Returns the circles of files that import one another, each once. A module and the files below it may import each
/// other, and tests may import every file.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let code = sources.iter().filter(|source| !source.is_tests());
    let code: BTreeMap<_, _> = code.filter_map(|source| Some((source.module()?, source.production()))).collect();
    let edges: BTreeMap<_, BTreeSet<_>> = code
        .iter()
        .map(|(home, tokens)| {
            let files = paths(home, tokens).into_iter().filter_map(|path| {
                let lengths = (1..=path.names.len()).rev();
                lengths
                    .map(|length| &path.names[..length])
                    .find(|file| code.contains_key(*file))
                    .map(<[String]>::to_vec)
            });
            (home, files.filter(|file| !file.starts_with(home) && !home.starts_with(file)).collect())
        })
        .collect();
    let mut circles = BTreeMap::new();
    for start in code.keys() {
        // The shortest way from a file back to itself.
        let mut ways: Vec<Vec<&Vec<String>>> = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
            let next = edges.get(way[way.len() - 1]).into_iter().flatten();
            for file in next {
                if file == start {
                    let members: BTreeSet<_> = way.iter().map(|file| file.join("/")).collect();
                    let told: Vec<_> = way.iter().chain([&file]).map(|file| file.join("/")).collect();
                    circles.entry(members).or_insert_with(|| format!("a circle of files: {}", told.join(" -> ")));
                } else if seen.insert(file) {
                    ways.push(way.iter().copied().chain([file]).collect());
                }
            }
        }
    }
    circles.into_values().collect()
}

/// Names and texts of files.
type Files<'a> = &'a [(&'a str, &'a str)];

#[test]
fn circles_of_files_are_noticed() {
    let table: &[(Files<'_>, &[&str])] = &[
        (&[("a/x.rs", "use super::y::Y;"), ("a/y.rs", "use crate::b::B;"), ("b.rs", "")], &[]),
        (
            &[("a/x.rs", "use super::{y::Y, z as w};"), ("a/y.rs", "fn f() { crate::a::x::X::new() }")],
            &["a circle of files: a/x -> a/y -> a/x"],
        ),
        (
            &[("a.rs", "use crate::{b::{B, C}, d};"), ("b.rs", "use crate::c;"), ("c.rs", "use super::a::A;")],
            &["a circle of files: a -> b -> c -> a"],
        ),
        (
            &[("a.rs", "enum A { #[cfg(test)] T, }\nuse crate::b::B;"), ("b.rs", "fn f() { m!(crate::a::A) }")],
            &["a circle of files: a -> b -> a"],
        ),
        // A module and its parts, the tests of a file, and a file of tests.
        (&[("a/mod.rs", "mod x; use self::x::X;"), ("a/x.rs", "use super::Y;")], &[]),
        (&[("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a; }")], &[]),
        (&[("a.rs", "use crate::b::tests;"), ("b/tests.rs", "use crate::a;"), ("b.rs", "")], &[]),
    ];
    for (files, expected) in table {
        let sources: Vec<_> = files.iter().map(|(name, text)| Source::new(&format!("src/{name}"), text)).collect();
        assert_eq!(circles(&sources), *expected, "{files:?}");
    }
}
