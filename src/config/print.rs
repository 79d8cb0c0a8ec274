//! The table of settings as text: the annotated file that `maxtalk config` prints.

use super::live::LIVE;
use super::{NONE, SECTIONS};

/// A table of the file.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) about: &'static [&'static str],
    pub(super) settings: Vec<Setting>,
}

/// A setting as file, environment and messages know it.
pub(super) struct Setting {
    /// The full name, such as `server.listen`.
    pub(super) key: &'static str,
    /// The name in its section, such as `listen`.
    pub(super) name: &'static str,
    pub(super) about: &'static [&'static str],
    /// The default in TOML, or [`NONE`].
    pub(super) default: &'static str,
    pub(super) allowed: String,
}

impl Setting {
    /// All settings in the order of the table.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        SECTIONS.iter().flat_map(|section| &section.settings)
    }

    fn assignment(&self) -> String {
        let Self { name, default, .. } = self;
        if *default == NONE { format!("# {name} = \"\"\n") } else { format!("{name} = {default}\n") }
    }
}

/// All settings with their defaults and what is allowed, as the TOML file that `maxtalk config` prints. Loading the
/// file changes nothing. Settings without a default appear in it as comments.
pub fn annotated_defaults() -> String {
    let mut text = String::from(
        "# Every setting of maxtalk with its default. Flags override the environment, the environment overrides a\n\
         # file, and a file overrides these defaults. The setting server.listen is also the environment variable\n\
         # MAXTALK_SERVER__LISTEN, with two underscores; the others likewise. \"maxtalk check\" says whether a\n\
         # configuration is valid.\n",
    );
    let mut write = |start: &str, lines: &[&str]| {
        text += start;
        lines.iter().for_each(|line| text += &format!("#{line}\n"));
    };
    for section in SECTIONS.iter() {
        write("\n\n", section.about);
        write(&format!("[{}]\n", section.name), &[]);
        for setting in &section.settings {
            write("\n", setting.about);
            write(&format!("# Allowed: {}.\n", setting.allowed), &[]);
            if LIVE.contains(&setting.key) {
                write("# It may be changed while the server runs.\n", &[]);
            }
            write(&setting.assignment(), &[]);
        }
    }
    text
}
