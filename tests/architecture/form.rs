//! The form of a file: it begins with a paragraph, its length and that of its lines and functions is bounded, and a
//! `mod.rs` is a map.

use syn::visit::{self, Visit};
use syn::{Item, token};

use crate::source::{Source, is_for_tests};

const LINE_COLUMNS_MAX: usize = 120;
const FILE_LINES_MAX: usize = 700;

/// Lines of a file of the crate without its tests.
const PRODUCTION_LINES_MAX: usize = 500;

/// Lines of a function of the crate from `fn` to the closing brace, unless it is for tests only.
const FUNCTION_LINES_MAX: usize = 70;

pub fn breaches(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    if !source.text.starts_with("//! ") {
        breaches.push(source.breach(1, "no paragraph says what lives here"));
    }
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            breaches.push(source.breach(index + 1, &format!("{columns} columns")));
        }
    }
    let lines = source.text.lines().count();
    let production = (1..=lines).filter(|line| !source.is_test(*line)).count();
    if lines > FILE_LINES_MAX {
        breaches.push(source.breach(1, &format!("{lines} lines, wants to be two files")));
    } else if source.in_crate().is_some() && production > PRODUCTION_LINES_MAX {
        breaches.push(source.breach(1, &format!("{production} lines without tests, wants to be two files")));
    }
    if source.in_crate().is_some() {
        let mut functions = Functions { source, breaches: &mut breaches };
        functions.visit_file(&source.file);
        if source.name.ends_with("/mod.rs") && !is_map(&source.file) {
            breaches.push(source.breach(1, "a `mod.rs` has a doc, modules and imports only"));
        }
    }
    breaches
}

fn is_map(file: &syn::File) -> bool {
    let is_entry = |item: &Item| match item {
        Item::Use(_) => true,
        Item::Mod(module) => module.content.is_none() || is_for_tests(&module.attrs),
        _ => false,
    };
    file.attrs.iter().all(|attr| attr.path().is_ident("doc")) && file.items.iter().all(is_entry)
}

/// Finds the functions that are too long.
struct Functions<'a> {
    source: &'a Source,
    breaches: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &token::Brace) {
        let (begin, end) = (signature.fn_token.span.start().line, body.span.close().end().line);
        let lines = end - begin + 1;
        if lines > FUNCTION_LINES_MAX && !self.source.is_test(begin) {
            let what = format!("`{}` has {lines} lines", signature.ident);
            self.breaches.push(self.source.breach(begin, &what));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block.brace_token);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block.brace_token);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, &block.brace_token);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn breaches_of_the_form_are_noticed() {
    let of = |name: &str, text: &str| breaches(&Source::new(name, text));
    let lines = |count: usize| "//! x\n".to_owned() + &"\n".repeat(count - 1);

    let wide = format!("//! x\n//{}\n//{}\n", "é".repeat(118), "x".repeat(119));
    assert_eq!(of("tests/a.rs", &wide), ["tests/a.rs:3: 121 columns"]);
    assert_eq!(of("tests/a.rs", "use x;\n// x"), ["tests/a.rs:1: no paragraph says what lives here"]);

    assert_eq!(of("tests/a.rs", &lines(700)), [""; 0]);
    assert_eq!(of("tests/a.rs", &lines(701)), ["tests/a.rs:1: 701 lines, wants to be two files"]);
    assert_eq!(of("src/a.rs", &lines(500)), [""; 0]);
    assert_eq!(of("src/a.rs", &lines(501)), ["src/a.rs:1: 501 lines without tests, wants to be two files"]);
    let tested = lines(500) + "#[cfg(test)]\nmod tests {\n\n}\n";
    assert_eq!(of("src/a.rs", &tested), [""; 0]);
    assert_eq!(of("src/a.rs", &(tested + "\n")), ["src/a.rs:1: 501 lines without tests, wants to be two files"]);
}

#[test]
fn long_functions_are_noticed() {
    let of = |name: &str, text: &str| breaches(&Source::new(name, &format!("//! x\n{text}")));
    let function = |lines: usize| format!("/// x\n#[x]\nfn f(\n){{{}}}\n", "\n".repeat(lines - 2));

    assert_eq!(of("src/a.rs", &function(70)), [""; 0]);
    assert_eq!(of("src/a.rs", &function(71)), ["src/a.rs:4: `f` has 71 lines"]);
    for around in ["impl A", "trait A", "mod a", "fn g() -> [u8; 1]"] {
        let found = of("src/a.rs", &format!("{around} {{ {} }}", function(71)));
        assert!(found.contains(&"src/a.rs:4: `f` has 71 lines".to_owned()), "{around}: {found:?}");
    }
    for (name, text) in [
        ("src/a.rs", format!("#[cfg(test)]\nmod tests {{ {} }}", function(71))),
        ("src/a/tests.rs", function(71)),
        ("src/a/b_tests.rs", function(71)),
        ("tests/a.rs", function(71)),
    ] {
        assert_eq!(of(name, &text), [""; 0], "{text}");
    }
}

#[test]
fn a_module_that_is_no_map_is_noticed() {
    let of = |name: &str, text: &str| breaches(&Source::new(name, &format!("//! x\n{text}")));
    assert_eq!(of("src/a/mod.rs", "pub mod b;\nmod c;\npub use c::{D, E as F};\n#[cfg(test)]\nmod tests {}"), [""; 0]);
    for text in
        ["fn f() {}", "struct S;", "mod b {}", "const C: u8 = 1;", "m! {}", "#![allow(x)]", "use b::C;\ntype T = C;"]
    {
        assert_eq!(
            of("src/a/mod.rs", text),
            ["src/a/mod.rs:1: a `mod.rs` has a doc, modules and imports only"],
            "{text}"
        );
        assert_eq!(of("src/a.rs", text), [""; 0], "{text}");
    }
}
