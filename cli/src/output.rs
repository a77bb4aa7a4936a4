//! What the user sees: results on standard output (text or JSON lines), progress on standard error. Never a secret that was not asked for.
use crate::error::Error;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Colours of a terminal, used only for words that are complete without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A fact the phone signed.
    Good,
    /// Something to look at.
    Warning,
    /// Less important.
    Faint,
}

/// The two streams and how they may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    coloured: bool,
    progress: bool,
}

impl Output {
    /// For this process: colour only on a terminal and without `NO_COLOR` (no-color.org: any non-empty value).
    pub(crate) fn new(format: Format) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format,
            coloured: format == Format::Text && io::stdout().is_terminal() && !plain,
            progress: io::stderr().is_terminal(),
        }
    }

    /// A line for people; nothing with `--json`.
    pub(crate) fn text(self, line: &str) -> Result<(), Error> {
        match self.format {
            Format::Text => print_line(line),
            Format::Json => Ok(()),
        }
    }

    /// An object for programs; nothing without `--json`.
    pub(crate) fn json(self, object: &impl Serialize) -> Result<(), Error> {
        match self.format {
            Format::Text => Ok(()),
            Format::Json => print_line(&serde_json::to_string(object)?),
        }
    }

    /// The same fact in both forms.
    pub(crate) fn both(self, line: &str, object: &impl Serialize) -> Result<(), Error> {
        self.text(line)?;
        self.json(object)
    }

    /// Whether results are for programs.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Text that has its form already, on standard output.
    pub(crate) fn raw(self, text: &str) -> Result<(), Error> {
        print_line(text.strip_suffix('\n').unwrap_or(text))
    }

    /// What is going on, on a terminal's standard error only.
    pub(crate) fn progress(self, line: &str) {
        if self.progress {
            // A terminal that went away must not end an order that is under way.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Something a person should know although the command goes on; always on standard error.
    pub(crate) fn warn(self, line: &str) {
        let _ = writeln!(io::stderr(), "homing: {line}");
    }

    /// A word in a colour, where colours are wanted.
    pub(crate) fn toned(self, tone: Tone, word: &str) -> String {
        if !self.coloured {
            return word.to_owned();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Faint => 2,
        };
        format!("\x1b[{code}m{word}\x1b[0m")
    }
}

fn print_line(line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let printed = writeln!(out, "{line}").and_then(|()| out.flush());
    match printed {
        // The reader of a pipe had enough (`homing log | head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::Print),
    }
}

/// Text that came from elsewhere, made harmless for a terminal: control characters become `·`, and so does what shows nothing itself but hides or turns round what stands beside it.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || is_unseen(c) {
                '·'
            } else {
                c
            }
        })
        .collect()
}

/// Bidirectional controls (UAX #9, section 2: U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), zero-width characters and line separators.
const fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_turn_round_or_hide_what_stands_beside_it() {
        for c in [
            '\u{1b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{200f}', '\u{feff}',
        ] {
            assert_eq!(harmless(&format!("a{c}b")), "a·b", "{c:?}");
        }
        assert_eq!(harmless("Zoë’s téléphone 電話"), "Zoë’s téléphone 電話");
    }
}
