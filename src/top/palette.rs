//! The looks of the texts, in the eight colors that every terminal has, or without colors.

use ratatui::style::{Color, Modifier, Style};

/// The meaning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A figure.
    Plain,
    /// The name of a figure, or one that says nothing.
    Dim,
    /// A figure that stands out.
    Strong,
    /// The head of a table.
    Title,
    /// The head of the table that the keys act on.
    Focus,
    /// A figure that is as it should be.
    Good,
    /// A figure that an operator should look at.
    Warn,
    /// A figure that clients feel.
    Bad,
}

/// The looks of each tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Whether colors are used.
    pub colors: bool,
}

impl Palette {
    /// Returns the style of a tone.
    pub fn style(self, tone: Tone) -> Style {
        let (color, modifier) = match tone {
            Tone::Plain => (None, Modifier::empty()),
            Tone::Dim => (None, Modifier::DIM),
            Tone::Strong => (None, Modifier::BOLD),
            Tone::Title => (Some(Color::Cyan), Modifier::BOLD),
            Tone::Focus => (Some(Color::Cyan), Modifier::BOLD.union(Modifier::REVERSED)),
            Tone::Good => (Some(Color::Green), Modifier::empty()),
            Tone::Warn => (Some(Color::Yellow), Modifier::BOLD),
            Tone::Bad => (Some(Color::Red), Modifier::BOLD.union(Modifier::UNDERLINED)),
        };
        let style = Style::new().add_modifier(modifier);
        match color {
            Some(color) if self.colors => style.fg(color),
            _ => style,
        }
    }
}
