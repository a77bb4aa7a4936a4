//! The command line of `homingd`, parsed by hand to keep the daemon small; it must not read files or act.

mod help;
mod table;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

pub use self::table::{COMMON, Flag, Name, SUBCOMMANDS, Subcommand};
use crate::config::{Simulator, Source};
use crate::error::Error;
use crate::suggest;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Print this text to stdout and end well: help or version.
    Print(String),
    /// Run a subcommand.
    Run(Order),
}

/// A subcommand with what was given to it.
#[derive(Debug)]
pub struct Order {
    /// Which subcommand.
    pub name: Name,
    /// Where its configuration is.
    pub source: Source,
    /// What is neither a flag nor a flag's value, in order.
    pub operands: Vec<OsString>,
    given: Vec<(&'static str, OsString)>,
}

/// Whether a switch was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It was.
    On,
    /// It was not.
    Off,
}

impl Order {
    /// Whether the switch `flag` (`--json`) was given.
    #[must_use]
    pub fn switch(&self, flag: &str) -> Switch {
        if self.value(flag).is_some() {
            Switch::On
        } else {
            Switch::Off
        }
    }

    /// The value of `flag`, the last one when it was given again.
    #[must_use]
    pub fn value(&self, flag: &str) -> Option<&OsStr> {
        self.given
            .iter()
            .rev()
            .find(|(name, _)| *name == flag)
            .map(|(_, value)| value.as_os_str())
    }
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`Error::Usage`] with one sentence that names the word at fault and, where one is close, the word meant.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Error> {
    let mut parser = Parser {
        words: arguments.into_iter(),
        subcommand: None,
        given: Vec::new(),
        operands: Vec::new(),
    };
    let mut flags_end = false;
    while let Some(word) = parser.words.next() {
        match word.to_str() {
            Some("--") if !flags_end => flags_end = true,
            Some("-h" | "--help") if !flags_end => {
                return Ok(Invocation::Print(help::text(parser.subcommand)));
            }
            Some("-V" | "--version") if !flags_end => {
                return Ok(Invocation::Print(format!(
                    "homingd {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            Some(flag) if !flags_end && flag.len() > 1 && flag.starts_with('-') => {
                parser.flag(flag)?
            }
            _ => parser.word(word)?,
        }
    }
    parser.finish()
}

struct Parser<I> {
    words: I,
    subcommand: Option<&'static Subcommand>,
    given: Vec<(&'static str, OsString)>,
    operands: Vec<OsString>,
}

impl<I: Iterator<Item = OsString>> Parser<I> {
    fn flag(&mut self, word: &str) -> Result<(), Error> {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (word, None),
        };
        let own: &[Flag] = self.subcommand.map_or(&[], |subcommand| subcommand.flags);
        let Some(flag) = COMMON.iter().chain(own).find(|flag| flag.name == name) else {
            let near = suggest::hint(name, COMMON.iter().chain(own).map(|flag| flag.name));
            return Err(usage(
                self.subcommand,
                format!("there is no flag {name}{near}"),
            ));
        };
        let value = match (flag.value, attached) {
            (None, None) => OsString::new(),
            (None, Some(_)) => {
                return Err(usage(self.subcommand, format!("{name} takes no value")));
            }
            (Some(_), Some(value)) => value,
            (Some(wanted), None) => self
                .words
                .next()
                .ok_or_else(|| usage(self.subcommand, format!("{name} needs its {wanted}")))?,
        };
        self.given.push((flag.name, value));
        Ok(())
    }

    fn word(&mut self, word: OsString) -> Result<(), Error> {
        let Some(subcommand) = self.subcommand else {
            let text = word.to_string_lossy();
            let known = SUBCOMMANDS
                .iter()
                .find(|subcommand| *subcommand.word == *text);
            self.subcommand = Some(known.ok_or_else(|| {
                let near =
                    suggest::hint(&text, SUBCOMMANDS.iter().map(|subcommand| subcommand.word));
                usage(None, format!("there is no subcommand \"{text}\"{near}"))
            })?);
            return Ok(());
        };
        if self.operands.len() == subcommand.most_operands {
            let sentence = format!("\"{}\" is one word too many", word.to_string_lossy());
            return Err(usage(self.subcommand, sentence));
        }
        self.operands.push(word);
        Ok(())
    }

    fn finish(self) -> Result<Invocation, Error> {
        let Some(subcommand) = self.subcommand else {
            return Err(usage(None, "a subcommand is missing".into()));
        };
        if self.operands.len() < subcommand.least_operands {
            return Err(usage(
                self.subcommand,
                format!("{} is missing", subcommand.operands),
            ));
        }
        let mut order = Order {
            name: subcommand.name,
            source: Source::default(),
            operands: self.operands,
            given: self.given,
        };
        order.source.named = order.value("--config").map(PathBuf::from);
        if order.switch("--allow-simulator") == Switch::On {
            order.source.simulator = Simulator::Allowed;
        }
        Ok(Invocation::Run(order))
    }
}

fn usage(subcommand: Option<&Subcommand>, sentence: String) -> Error {
    let word = subcommand.map_or_else(String::new, |subcommand| format!(" {}", subcommand.word));
    Error::Usage(format!("{sentence}; see \"homingd{word} --help\""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse_words(words: &[&str]) -> Result<Invocation, Error> {
        parse(words.iter().map(OsString::from))
    }

    fn order(words: &[&str]) -> Order {
        match parse_words(words).unwrap() {
            Invocation::Run(order) => order,
            Invocation::Print(text) => panic!("printed {text}"),
        }
    }

    fn refusal(words: &[&str]) -> String {
        parse_words(words).unwrap_err().to_string()
    }

    fn printed(words: &[&str]) -> String {
        match parse_words(words).unwrap() {
            Invocation::Print(text) => text,
            Invocation::Run(order) => panic!("ran {order:?}"),
        }
    }

    #[test]
    fn common_flags_are_taken_before_and_after_the_subcommand() {
        for words in [
            ["--config", "/x.toml", "siren"],
            ["siren", "--config", "/x.toml"],
        ] {
            let order = order(&words);
            assert_eq!(order.name, Name::Siren);
            assert_eq!(order.source.path(), Path::new("/x.toml"));
            assert_eq!(order.source.simulator, Simulator::Refused);
        }
        let attached = order(&[
            "siren",
            "--config=/y.toml",
            "--allow-simulator",
            "--resident",
        ]);
        assert_eq!(attached.source.path(), Path::new("/y.toml"));
        assert_eq!(attached.source.simulator, Simulator::Allowed);
        assert_eq!(attached.switch("--resident"), Switch::On);
        assert_eq!(attached.switch("--json"), Switch::Off);
    }

    #[test]
    fn a_mistyped_word_is_answered_with_the_one_that_was_meant() {
        assert!(refusal(&["sirne"]).contains("did you mean \"siren\"?"));
        assert!(refusal(&["siren", "--residnet"]).contains("did you mean \"--resident\"?"));
        assert!(refusal(&["doctor", "--jsno"]).contains("did you mean \"--json\"?"));
        assert!(!refusal(&["banana"]).contains("did you mean"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        assert!(refusal(&[]).contains("a subcommand is missing"));
        assert!(refusal(&["siren", "--config"]).contains("--config needs its FILE"));
        assert!(refusal(&["siren", "--resident=yes"]).contains("takes no value"));
        assert!(refusal(&["siren", "extra"]).contains("\"extra\" is one word too many"));
        assert!(refusal(&["doctor", "--resident"]).contains("there is no flag --resident"));
    }

    #[test]
    fn operands_may_look_like_flags_after_a_double_dash() {
        let order = order(&["check-config", "--", "--help", "b.toml"]);
        assert_eq!(order.operands, ["--help", "b.toml"]);
    }

    #[test]
    fn help_names_every_subcommand_and_every_flag() {
        let general = printed(&["--help"]);
        for subcommand in &SUBCOMMANDS {
            assert!(general.contains(subcommand.word), "{}", subcommand.word);
            let own = printed(&[subcommand.word, "--help"]);
            for flag in COMMON.iter().chain(subcommand.flags) {
                assert!(own.contains(flag.name), "{} {}", subcommand.word, flag.name);
            }
            assert!(own.lines().all(|line| line.chars().count() <= 80), "{own}");
        }
        assert!(
            general.lines().all(|line| line.chars().count() <= 80),
            "{general}"
        );
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        assert_eq!(
            printed(&["--version"]),
            format!("homingd {}\n", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn the_manual_page_explains_every_subcommand_and_every_flag() {
        let manual = include_str!("../../../docs/man/homingd.8.md");
        for subcommand in &SUBCOMMANDS {
            assert!(
                manual.contains(&format!("**{}**", subcommand.word)),
                "{}",
                subcommand.word
            );
            for flag in COMMON.iter().chain(subcommand.flags) {
                assert!(
                    manual.contains(&format!("**{}**", flag.name)),
                    "{}",
                    flag.name
                );
            }
        }
    }
}
