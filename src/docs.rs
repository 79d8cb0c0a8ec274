//! The pages of the documentation, as they lie in `src/docs`. `maxtalk docs` prints them, the admin listener serves
//! them, and here they are part of the documentation of the code.

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Its name in paths and on the command line.
    pub name: &'static str,
    /// The name of its file, by which the pages refer to one another.
    pub file: &'static str,
    /// Its content, in a few words.
    pub about: &'static str,
    /// Its text in Markdown.
    pub text: &'static str,
}

macro_rules! pages {
    ($($module:ident $name:literal $about:literal,)+) => {
        /// All pages, in the order in which a newcomer needs them.
        pub const PAGES: &[Page] = &[
            $(Page {
                name: $name,
                file: concat!($name, ".md"),
                about: $about,
                text: include_str!(concat!("docs/", $name, ".md")),
            },)+
        ];

        $(
            #[doc = include_str!(concat!("docs/", $name, ".md"))]
            pub mod $module {}
        )+
    };
}

pages! {
    install "install" "the static program, the Debian package, the image, cargo install",
    protocol "protocol" "what clients send and hear, every code, older clients",
    back_end "back-end" "how MAX or your own back end is asked, and the demo",
    settings "settings" "the file, the environment, every bound, changes while the server runs",
    operating "operating" "dashboard, API, metrics, log, terminal, stopping",
    proxies "proxies" "nginx, Caddy, HAProxy, Apache and lighttpd in front of it",
    cluster "cluster" "several nodes as one service, on Redis",
    scale "scale" "figures, and ten million connections on paper",
    tuning "tuning" "which limit to choose, and how to find it",
    bench "bench" "loads, searches for the highest rate, sweeps of limits",
    internals "internals" "how it is built",
    contributing "contributing" "tests, and the rules of the code",
    changelog "changelog" "what has changed in each version",
}

/// The pictures of the pages: name and content.
pub const PICTURES: &[(&str, &str)] = &[
    ("sweep-p99-bursts.svg", include_str!("docs/sweep-p99-bursts.svg")),
    ("sweep-refused-bursts.svg", include_str!("docs/sweep-refused-bursts.svg")),
];

/// Returns the page of this name or file. `None` if there is none.
pub fn find(name: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.name == name || page.file == name)
}

/// Returns the list of the pages, one in each line.
pub fn list() -> String {
    let longest = PAGES.iter().map(|page| page.name.len()).max().unwrap_or(0);
    let lines = PAGES.iter().map(|page| format!("maxtalk docs {:<longest$}  {}\n", page.name, page.about));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    const README: &str = include_str!("../README.md");

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// Returns the targets of the links and pictures of a text.
    fn links(text: &str) -> impl Iterator<Item = &str> {
        text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
    }

    /// Returns the anchors of a text, as GitHub makes them of its headings.
    fn anchors(text: &str) -> BTreeSet<String> {
        // The parts between fences are outside of code and inside of it in turn.
        let prose = text.split("```").step_by(2).flat_map(str::lines);
        let headings = prose.filter(|line| line.starts_with('#'));
        let headings = headings.map(|line| line.trim_start_matches('#').trim());
        let anchor = |heading: &str| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        };
        headings.map(anchor).collect()
    }

    #[test]
    fn the_readme_lists_every_page() {
        let row = |page: &Page| format!("](src/docs/{}.md): {}\n", page.name, page.about);
        for page in PAGES {
            assert!(README.contains(&row(page)), "{}", row(page));
        }
        assert!(README.split_whitespace().count() <= 1500, "{} words", README.split_whitespace().count());
    }

    #[test]
    fn every_file_is_a_page_or_a_picture() {
        let files = fs::read_dir(root().join("src/docs")).unwrap();
        let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let pages = PAGES.iter().map(|page| format!("{}.md", page.name));
        assert_eq!(files, pages.chain(PICTURES.iter().map(|(name, _)| (*name).to_owned())).collect());
    }

    #[test]
    fn links_lead_somewhere() {
        let texts = PAGES.iter().map(|page| (format!("src/docs/{}.md", page.name), page.text));
        for (file, text) in texts.chain([("README.md".to_owned(), README)]) {
            assert!(text.starts_with("# "), "{file} has no title");
            let folder = root().join(&file).parent().unwrap().to_owned();
            for link in links(text).filter(|link| !link.starts_with("http")) {
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if path.is_empty() { root().join(&file) } else { folder.join(path) };
                assert!(target.exists(), "{file}: {link}");
                if !anchor.is_empty() {
                    assert!(anchors(&fs::read_to_string(target).unwrap()).contains(anchor), "{file}: {link}");
                }
            }
        }
    }

    #[test]
    fn blocks_of_code_name_their_language() {
        for (name, text) in PAGES.iter().map(|page| (page.name, page.text)).chain([("README", README)]) {
            let opening = text.lines().filter(|line| line.starts_with("```")).step_by(2);
            let bare: Vec<_> = opening.filter(|line| *line == "```").collect();
            assert!(bare.is_empty(), "{name} has {} blocks without a language", bare.len());
        }
    }

    #[test]
    fn pages_are_found_by_name() {
        assert!(find("tuning").is_some_and(|page| page.text.starts_with("# Tuning")));
        assert!(find("nothing").is_none());
        assert_eq!(list().lines().count(), PAGES.len());
    }
}
