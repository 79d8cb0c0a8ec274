//! The rules of prose that are cheap to check: each constant has a doc of its own, and a doc does not leave its reader
//! with a question.

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, TraitItem};

use crate::source::Source;

/// Beginnings that no line of a doc may have.
const HEADLESS: &[&str] = &["Of 0.9", "See above."];

/// Texts that no line of a doc may consist of.
const QUESTIONS: &[&str] = &["How.", "What.", "When.", "Where.", "Which.", "Who.", "Whom.", "Whose.", "Why."];

pub fn breaches(source: &Source) -> Vec<String> {
    let mut constants = Constants { source, breaches: Vec::new() };
    constants.visit_file(&source.file);
    let mut breaches = constants.breaches;
    for tokens in source.tokens.windows(3).filter(|tokens| tokens[0].text == "doc" && tokens[1].text == "=") {
        let text = tokens[2].text.trim_matches('"').trim();
        if QUESTIONS.contains(&text) || HEADLESS.iter().any(|headless| text.starts_with(headless)) {
            breaches.push(source.breach(tokens[2].line, &format!("a doc says `{text}`")));
        }
    }
    breaches
}

/// Finds the constants that share the doc of the constant on the line above.
struct Constants<'a> {
    source: &'a Source,
    breaches: Vec<String>,
}

/// The attributes and the span of a constant; `None` for another item.
type Constant<'a> = Option<(&'a [Attribute], Span)>;

impl Constants<'_> {
    fn check<'a>(&mut self, items: impl Iterator<Item = Constant<'a>>) {
        // The last line of the constant above, if that constant has a doc or shares one.
        let mut end = None;
        for item in items {
            end = item.and_then(|(attributes, span)| {
                let is_documented = attributes.iter().any(|attr| attr.path().is_ident("doc"));
                let shares = !is_documented && end.is_some_and(|end: usize| end + 1 == span.start().line);
                if shares {
                    self.breaches.push(self.source.breach(span.start().line, "a constant without a doc of its own"));
                }
                (is_documented || shares).then(|| span.end().line)
            });
        }
    }
}

impl<'ast> Visit<'ast> for Constants<'_> {
    fn visit_file(&mut self, file: &'ast syn::File) {
        self.check(file.items.iter().map(constant));
        visit::visit_file(self, file);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.check(module.content.iter().flat_map(|(_, items)| items).map(constant));
        visit::visit_item_mod(self, module);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.check(item.items.iter().map(|item| match item {
            ImplItem::Const(constant) => Some((&constant.attrs[..], constant.span())),
            _ => None,
        }));
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.check(item.items.iter().map(|item| match item {
            TraitItem::Const(constant) => Some((&constant.attrs[..], constant.span())),
            _ => None,
        }));
        visit::visit_item_trait(self, item);
    }
}

fn constant(item: &Item) -> Constant<'_> {
    match item {
        Item::Const(constant) => Some((&constant.attrs, constant.span())),
        _ => None,
    }
}

#[test]
fn constants_that_share_a_doc_are_noticed() {
    let of = |text: &str| breaches(&Source::new("src/a.rs", text));
    let shared = "/// x\nconst A: u8 = 1;\nconst B: u8 = 2;\nconst C: [u8; 2] = [\n0, 1];\n/// y\nconst D: u8 = 3;";
    let expected = [3, 4].map(|line| format!("src/a.rs:{line}: a constant without a doc of its own"));
    assert_eq!(of(shared), expected);
    for around in ["mod a", "impl A", "trait A"] {
        assert_eq!(of(&format!("{around} {{ {shared} }}")), expected, "{around}");
    }
    for text in [
        "const A: u8 = 1;\nconst B: u8 = 2;",
        "/// x\nconst A: u8 = 1;\n\nconst B: u8 = 2;",
        "/// x\nconst A: u8 = 1;\nfn f() {}\nconst B: u8 = 2;",
        "/// x\nconst A: u8 = 1;\n/// y\nconst B: u8 = 2;",
    ] {
        assert_eq!(of(text), [""; 0], "{text}");
    }
}

#[test]
fn docs_that_say_nothing_are_noticed() {
    let of = |text: &str| breaches(&Source::new("src/a.rs", text));
    assert_eq!(of("/// Who says it.\n/// How many? Which. See above.\n// Which.\nstruct A;"), [""; 0]);
    for doc in ["Which.", "Who.", "See above.", "Of 0.9 the packet."] {
        let expected = [format!("src/a.rs:2: a doc says `{doc}`")];
        assert_eq!(of(&format!("/// A thing.\n/// {doc}\nstruct A;")), expected);
        assert_eq!(of(&format!("struct A {{\n/// {doc}\na: u8 }}")), expected);
        assert_eq!(of(&format!("m! {{\n/// {doc}\na }}")), expected);
    }
}
