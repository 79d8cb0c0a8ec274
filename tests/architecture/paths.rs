//! The paths in a file that lead into the crate, by `crate::`, `self::` or `super::`: in imports, in code, and in the
//! arguments of macros.

use crate::source::Token;

/// A path from the crate's root, and the line where it begins.
pub struct Path {
    pub line: usize,
    pub names: Vec<String>,
}

/// Returns the paths among the tokens of a file whose own module is `home`.
pub fn paths(home: &[String], tokens: &[Token]) -> Vec<Path> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut paths = Vec::new();
    // The open braces, each with the name of its module if it is that of a module.
    let mut open: Vec<Option<&str>> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins_path = (at == 0 || text(at - 1) != "::") && text(at + 1) == "::";
        let mut names = Vec::new();
        match text(at) {
            "{" if at >= 2 && text(at - 2) == "mod" => open.push(Some(text(at - 1))),
            "{" => open.push(None),
            "}" => _ = open.pop(),
            "crate" if begins_path => _ = branches(tokens, at + 2, Vec::new(), &mut names),
            "self" | "super" if begins_path => {
                let mut from = at + 2 * usize::from(text(at) == "self");
                let modules = open.iter().flatten().map(|module| (*module).to_owned());
                let mut base: Vec<_> = home.iter().cloned().chain(modules).collect();
                while text(from) == "super" && text(from + 1) == "::" {
                    base.pop();
                    from += 2;
                }
                branches(tokens, from, base, &mut names);
            }
            _ => {}
        }
        paths.extend(names.into_iter().map(|names| Path { line: token.line, names }));
    }
    paths
}

/// Reads the rest of a path at the token `at`. `path` is its beginning. Appends the whole path, or all paths of a
/// group, to `paths`, and returns the index of the token after them.
pub fn branches(tokens: &[Token], mut at: usize, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    while at < tokens.len() {
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                at = branches(tokens, at, path.clone(), paths);
                at += usize::from(text(at) == ",");
            }
            return at + 1;
        }
        path.push(text(at).to_owned());
        if text(at + 1) != "::" {
            paths.push(path);
            return at + if text(at + 1) == "as" { 3 } else { 1 };
        }
        at += 2;
    }
    at
}
