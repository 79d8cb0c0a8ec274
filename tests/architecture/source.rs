//! A file of the project, read by `syn`: its items, and its tokens with their lines. Comments are not among the tokens
//! and a string is one token, but the arguments of macros are there.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

pub struct Source {
    /// The path from the root of the project.
    pub name: String,
    pub text: String,
    pub file: syn::File,
    pub tokens: Vec<Token>,
    /// The lines of the items that are built for tests only.
    tests: Vec<RangeInclusive<usize>>,
}

/// A word, a literal, `::`, or a single other character.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let file: syn::File = syn::parse2(stream.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (mut tokens, mut tests) = (Vec::new(), Tests(Vec::new()));
        flatten(stream, &mut tokens);
        tests.visit_file(&file);
        Self { name: name.to_owned(), text: text.to_owned(), file, tokens, tests: tests.0 }
    }

    /// Reads all Rust files in these folders of `root`, and below.
    pub fn all(root: &Path, folders: &[&str]) -> Vec<Self> {
        let mut sources = Vec::new();
        folders.iter().for_each(|folder| read(root, &root.join(folder), &mut sources));
        sources
    }

    /// The path from `src`, if the file belongs to the crate.
    pub fn in_crate(&self) -> Option<&str> {
        self.name.strip_prefix("src/")
    }

    /// The modules that lead to the file: `src/actors/session.rs` is `[actors, session]`, and `src/http/mod.rs` is
    /// `[http]`. `None` for the crate's root, for the program, and outside of the crate.
    pub fn module(&self) -> Option<Vec<String>> {
        let name = self.in_crate()?;
        let path = name.strip_suffix("/mod.rs").or_else(|| name.strip_suffix(".rs"))?;
        (!matches!(path, "lib" | "main")).then(|| path.split('/').map(str::to_owned).collect())
    }

    /// Whether the whole file is tests.
    pub fn is_tests(&self) -> bool {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file == "tests.rs" || file.ends_with("_tests.rs")
    }

    /// Whether a line is built for tests only.
    pub fn is_test(&self, line: usize) -> bool {
        self.is_tests() || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// The tokens that are not built for tests only.
    pub fn production(&self) -> Vec<Token> {
        self.tokens.iter().filter(|token| !self.is_test(token.line)).cloned().collect()
    }

    pub fn breach(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.name)
    }
}

fn read(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            read(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            sources.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |text: &str, line| tokens.push(Token { text: text.to_owned(), line });
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open, line);
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
            TokenTree::Punct(colon) if colon.as_char() == ':' && colon.spacing() == Spacing::Joint => {
                let doubled = trees.next_if(|next| matches!(next, TokenTree::Punct(next) if next.as_char() == ':'));
                push(if doubled.is_some() { "::" } else { ":" }, line);
            }
            tree => push(&tree.to_string(), line),
        }
    }
}

/// Collects the lines of the items that have the attribute `#[cfg(test)]`.
struct Tests(Vec<RangeInclusive<usize>>);

macro_rules! visit_what_can_be_a_test {
    ($($visit:ident $Node:ident)+) => {
        impl<'ast> Visit<'ast> for Tests {
            $(fn $visit(&mut self, node: &'ast syn::$Node) {
                if is_for_tests(&node.attrs) {
                    self.0.push(node.span().start().line..=node.span().end().line);
                } else {
                    visit::$visit(self, node);
                }
            })+
        }
    };
}

visit_what_can_be_a_test! {
    visit_arm Arm
    visit_field Field
    visit_impl_item_const ImplItemConst
    visit_impl_item_fn ImplItemFn
    visit_item_const ItemConst
    visit_item_enum ItemEnum
    visit_item_fn ItemFn
    visit_item_impl ItemImpl
    visit_item_mod ItemMod
    visit_item_static ItemStatic
    visit_item_struct ItemStruct
    visit_item_type ItemType
    visit_item_use ItemUse
    visit_variant Variant
}

pub fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |path: syn::Path| path.is_ident("test");
    attributes.iter().any(|attr| attr.path().is_ident("cfg") && attr.parse_args().is_ok_and(is_test))
}
