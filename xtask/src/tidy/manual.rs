//! The manual pages against the programs: every flag and subcommand they print, every config key, every exit code. Judges presence, not prose.

use super::Breach;
use crate::house;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The programs that ship, each with the exit codes its manual page must explain (see daemon/src/exit.rs).
const PROGRAMS: &[(&str, &[&str])] = &[
    ("homing", &["0", "64", "69", "70", "74", "75", "77", "78"]),
    ("homingd", &["0", "64", "70", "74", "77", "78"]),
    ("homing-sim", &["0", "64", "74"]),
    ("homing-lost-screen", &["0", "64", "70", "74", "77", "78"]),
];

/// The shipped default configuration shows every key, commented out where the default is to have none.
const DEFAULT_CONFIG: &str = "systemd/etc/homing/homingd.toml";

/// Compares `docs/man/` with the programs in `target/debug` and with the default configuration.
///
/// # Errors
/// A program could not be asked for its `--help`.
pub(super) fn check(root: &Path, target: &Path) -> Result<Vec<Breach>, String> {
    let mut breaches = Vec::new();
    for (program, codes) in PROGRAMS {
        let place = format!("docs/man/{program}");
        let page = page(root, program);
        if page.is_empty() {
            breaches.push(Breach::new(&place, "has no manual page (.md or .1)"));
            continue;
        }
        let built = target.join("debug").join(program);
        let words = vocabulary(&mut |subcommands| help(&built, subcommands))?;
        breaches.extend(absent(&place, &page, &words, "does not mention"));
        let codes = codes.iter().map(|code| (*code).to_owned()).collect();
        breaches.extend(absent(
            &place,
            &page,
            &codes,
            "does not explain the exit code",
        ));
    }
    let config = std::fs::read_to_string(root.join(DEFAULT_CONFIG))
        .map_err(|error| format!("could not read {DEFAULT_CONFIG}: {error}"))?;
    let page = page(root, "homingd");
    breaches.extend(absent(
        "docs/man/homingd",
        &page,
        &keys(&config),
        "does not mention the config key",
    ));
    Ok(breaches)
}

/// The text of every page of that program (`homingd.1`, `homingd.toml.5.md`, `homing-ring.1` count for their program), without roff's escapes.
fn page(root: &Path, program: &str) -> String {
    let Ok(entries) = std::fs::read_dir(root.join("docs/man")) else {
        return String::new();
    };
    let mut text = String::new();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let of_program = name
            .strip_prefix(program)
            .is_some_and(|rest| rest.starts_with('.'));
        if of_program {
            text.push_str(
                &std::fs::read_to_string(&path)
                    .unwrap_or_default()
                    .replace('\\', ""),
            );
        }
    }
    text
}

fn help(program: &Path, subcommands: &[String]) -> Result<String, String> {
    let what = format!("asking {} for its --help (is it built?)", program.display());
    house::output(
        &what,
        Command::new(program)
            .args(subcommands)
            .arg("--help")
            .env("NO_COLOR", "1"),
    )
}

/// Every subcommand and every `--flag` a program prints for `--help`, its subcommands asked in turn.
fn vocabulary(
    help: &mut dyn FnMut(&[String]) -> Result<String, String>,
) -> Result<BTreeSet<String>, String> {
    let mut words = BTreeSet::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let text = help(&path)?;
        words.extend(flags(&text));
        for subcommand in subcommands(&text) {
            words.insert(subcommand.clone());
            let deeper: Vec<String> = path.iter().cloned().chain([subcommand]).collect();
            // Nothing in this house is nested deeper; a program that repeats its overview must not loop.
            if deeper.len() <= 3 {
                open.push(deeper);
            }
        }
    }
    Ok(words)
}

fn flags(help: &str) -> BTreeSet<String> {
    help.split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
        .filter(|word| word.len() > 3 && word.starts_with("--") && !word.starts_with("---"))
        .map(|word| word.trim_end_matches('-').to_owned())
        .filter(|word| word != "--help" && word != "--version")
        .collect()
}

/// The first words of the lines below `Commands:` up to the next heading, as clap and our own help print them.
fn subcommands(help: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        if line.trim_end().to_ascii_lowercase().ends_with("commands:") {
            inside = true;
        } else if !line.starts_with(' ') {
            inside &= line.is_empty() && found.is_empty();
        } else if inside {
            // Descriptions that run on are indented deeper than the names.
            let indent = line.len() - line.trim_start().len();
            let name = line.split_whitespace().next().unwrap_or_default();
            if indent <= 4
                && name != "help"
                && name.starts_with(|first: char| first.is_ascii_lowercase())
            {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Every key of a TOML file, also those commented out, and its tables' names.
fn keys(config: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for line in config.lines() {
        let line = line.trim_start_matches('#').trim();
        if let Some(table) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            keys.insert(table.trim().to_owned());
        } else if let Some((key, _)) = line.split_once('=') {
            let key = key.trim();
            let is_key = key
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || character == '_');
            if is_key && !key.is_empty() {
                keys.insert(key.to_owned());
            }
        }
    }
    keys
}

fn absent(place: &str, page: &str, words: &BTreeSet<String>, complaint: &str) -> Vec<Breach> {
    words
        .iter()
        .filter(|word| !mentions(page, word))
        .map(|word| Breach::new(place, format!("{complaint} {word}")))
        .collect()
}

/// Does the page hold the word as a whole, so that `--for` is not found in `--format`?
fn mentions(page: &str, word: &str) -> bool {
    let part =
        |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    page.match_indices(word).any(|(at, _)| {
        let before = page[..at].chars().next_back();
        let after = page[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERVIEW: &str = "Usage: homing [OPTIONS] <COMMAND>\n\nCommands:\n  ring    Sounds the siren\n  device  Linked devices\n          and their names\n  help    Print this\n\nOptions:\n      --home <DIR>  State\n  -h, --help        Print help\n";

    #[test]
    fn flags_and_subcommands_are_gathered_through_all_levels() {
        let words = vocabulary(&mut |path| {
            Ok(match path {
                [] => OVERVIEW.to_owned(),
                [one] if one == "device" => "Commands:\n  add  Adds\n".to_owned(),
                [one] if one == "ring" => "Options:\n      --for <TIME>\n".to_owned(),
                _ => "Options:\n      --out <BUNDLE>\n".to_owned(),
            })
        })
        .unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(words, ["--for", "--home", "--out", "add", "device", "ring"]);
    }

    #[test]
    fn a_flag_the_page_only_holds_inside_another_is_missing() {
        let words = BTreeSet::from(["--for".to_owned()]);
        assert_eq!(
            absent(
                "docs/man/homing",
                "use --format json",
                &words,
                "does not mention"
            )
            .len(),
            1
        );
        assert!(absent("docs/man/homing", "`--for 5m`", &words, "does not mention").is_empty());
    }

    #[test]
    fn config_keys_count_even_when_commented_out_and_prose_does_not() {
        let keys = keys(
            "# Where state lives, a = sign in a sentence.\nstate_dir = \"/var/lib/homing\"\n#runtime_dir = \"/run/homing\"\n[hal]\n",
        );
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(keys, ["hal", "runtime_dir", "state_dir"]);
    }

    #[test]
    fn a_program_without_a_page_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("systemd/etc/homing")).unwrap();
        std::fs::write(folder.path().join(DEFAULT_CONFIG), "a = 1\n").unwrap();
        let breaches = check(folder.path(), folder.path()).unwrap();
        assert_eq!(
            breaches
                .iter()
                .filter(|breach| breach.rule.contains("no manual page"))
                .count(),
            4
        );
    }
}
