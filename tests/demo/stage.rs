//! How the tour is told: headings, the commands as typed, what they said. It runs nothing itself.

use e2e::Answer;
use std::io::IsTerminal;

/// The terminal, or whatever stands for it.
pub(crate) struct Stage {
    bold: &'static str,
    dim: &'static str,
    red: &'static str,
    plain: &'static str,
}

impl Stage {
    /// Colours on a terminal only, and none with `NO_COLOR` (no-color.org).
    pub(crate) fn new() -> Self {
        let coloured = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let pick = |code| if coloured { code } else { "" };
        Self {
            bold: pick("\x1b[1m"),
            dim: pick("\x1b[2m"),
            red: pick("\x1b[1;31m"),
            plain: pick("\x1b[0m"),
        }
    }

    /// A new part of the tour.
    pub(crate) fn heading(&self, text: &str) {
        println!("\n{}== {text}{}", self.bold, self.plain);
    }

    /// A sentence of the narrator.
    pub(crate) fn say(&self, text: &str) {
        println!("{text}");
    }

    /// A command as a person would type it; `program` without its path, the long `--home` left out.
    pub(crate) fn command(&self, text: &str) {
        println!("{}$ {text}{}", self.bold, self.plain);
    }

    /// What a program printed.
    pub(crate) fn output(&self, text: &str) {
        for line in text.lines() {
            println!("  {}{line}{}", self.dim, self.plain);
        }
    }

    /// A command that was run, with both its outputs.
    pub(crate) fn answer(&self, typed: &str, answer: &Answer) {
        self.command(typed);
        self.output(&answer.stdout);
        self.output(&answer.stderr);
    }

    /// What went wrong, when the tour cannot go on.
    pub(crate) fn fail(&self, sentence: &str) {
        eprintln!("\n{}FAILED{}: {sentence}", self.red, self.plain);
    }
}
