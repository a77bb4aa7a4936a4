//! From files to settings: fragments in the order of their names, every fault with its place; it must not stop at the first fault.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_hal::HalSettings;
use homing_link::HttpsUrl;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::keys::{self, KEYS};
use super::settings::Settings;
use super::{Simulator, Source};
use crate::suggest;

/// The files that make up the configuration, the main one first.
pub(super) fn files(source: &Source) -> Result<Vec<PathBuf>, Fault> {
    let main = source.path();
    let mut files = Vec::new();
    // A named file that is missing is found out when it is read.
    if source.named.is_some() || main.exists() {
        files.push(main.to_owned());
    }
    files.extend(fragments(&main.with_extension("d"))?);
    Ok(files)
}

fn fragments(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unreadable = |error: io::Error| Fault::of_file(folder, format!("cannot be read: {error}"));
    let entries = match fs::read_dir(folder) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        entries => entries.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && !hidden
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Merges the files; all their faults, or the settings.
pub(super) fn settings(files: &[PathBuf], simulator: Simulator) -> Result<Settings, Vec<Fault>> {
    let mut merge = Merge::default();
    for file in files {
        match fs::read_to_string(file) {
            Ok(text) => merge.file(file, &text),
            Err(error) => merge
                .faults
                .push(Fault::of_file(file, format!("cannot be read: {error}"))),
        }
    }
    merge.finish(simulator)
}

/// The merge in progress.
#[derive(Default)]
struct Merge {
    settings: Settings,
    hal: toml::Table,
    /// Where the merged `[hal]` comes from: the last file that has one, and its line.
    hal_place: Option<(PathBuf, usize)>,
    faults: Vec<Fault>,
}

impl Merge {
    fn file(&mut self, file: &Path, text: &str) {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            self.faults.push(
                Fault::of_file(file, format!("is not valid TOML: {}", error.message()))
                    .on_line(line),
            );
        }
        // After a syntax error the rest of the document is a guess, and its faults would be noise.
        if !errors.is_empty() {
            return;
        }
        let earlier = self.faults.len();
        for (name, value) in document.into_inner() {
            let line = line_of(text, name.span().start);
            let name = name.into_inner();
            match value.get_ref() {
                _ if name == "hal" => self.hal(file, text, line, value),
                DeValue::Table(table) if keys::sections().contains(&&*name) => {
                    self.section(file, text, &name, table)
                }
                _ => self.key(file, line, None, &name, value.get_ref()),
            }
        }
        // The document is sorted by key; a reader goes by line.
        self.faults[earlier..].sort_by_key(Fault::line);
    }

    fn section(&mut self, file: &Path, text: &str, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = line_of(text, name.span().start);
            self.key(file, line, Some(section), name.get_ref(), value.get_ref());
        }
    }

    fn key(
        &mut self,
        file: &Path,
        line: usize,
        section: Option<&str>,
        name: &str,
        value: &DeValue<'_>,
    ) {
        let dotted = section.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}"));
        let problem = match KEYS.iter().find(|key| key.name == dotted) {
            Some(key) => (key.read)(&mut self.settings, value).err(),
            None if section.is_none() && keys::sections().contains(&name) => {
                Some(format!("is a section: write [{name}] and its keys below"))
            }
            None => {
                let mut near = keys::names_in(section);
                if section.is_none() {
                    near.extend(keys::sections());
                }
                Some(format!("is unknown{}", suggest::hint(name, near)))
            }
        };
        self.faults.extend(
            problem.map(|problem| Fault::of_file(file, problem).on_line(line).at_key(dotted)),
        );
    }

    /// The HAL reads its own section; here it is only merged and its faults are placed.
    fn hal(&mut self, file: &Path, text: &str, line: usize, value: Spanned<DeValue<'_>>) {
        let alone = HalSettings::deserialize(value.clone().into_deserializer());
        if let Err(error) = alone {
            // A fragment may be incomplete; only the merged section must be whole.
            if !error.message().starts_with("missing field") {
                let line = error.span().map_or(line, |span| line_of(text, span.start));
                self.faults.push(
                    Fault::of_file(file, hal_problem(error.message()))
                        .on_line(line)
                        .at_key("hal"),
                );
                return;
            }
        }
        match toml::Table::deserialize(value.into_deserializer()) {
            Ok(table) => {
                overlay(&mut self.hal, table);
                self.hal_place = Some((file.to_owned(), line));
            }
            Err(error) => {
                let problem = error.message().to_owned();
                self.faults
                    .push(Fault::of_file(file, problem).on_line(line).at_key("hal"));
            }
        }
    }

    fn finish(mut self, simulator: Simulator) -> Result<Settings, Vec<Fault>> {
        if let Some((file, line)) = self.hal_place {
            let place = |problem: String| Fault::of_file(&file, problem).on_line(line);
            match self.hal.try_into::<HalSettings>() {
                Ok(hal) if hal.uses_simulator() && simulator == Simulator::Refused => {
                    let problem =
                        "the simulator is refused without --allow-simulator on the command line";
                    self.faults.push(place(problem.into()).at_key("hal"));
                }
                Ok(hal) => {
                    let service = hal.position.geolocation.as_deref();
                    if let Some(Err(why)) = service.map(str::parse::<HttpsUrl>) {
                        self.faults
                            .push(place(why.into()).at_key("hal.position.geolocation"));
                    }
                    self.settings.hal = hal;
                }
                Err(error) => self
                    .faults
                    .push(place(hal_problem(error.message())).at_key("hal")),
            }
        }
        // What a search switches on must be known to the next start of the agent.
        self.settings.hal.receiver_note = Some(self.settings.state_dir.join("receiver.json"));
        if self.faults.is_empty() {
            Ok(self.settings)
        } else {
            Err(self.faults)
        }
    }
}

/// Lays `upper` over `lower`: tables are merged, anything else is replaced.
fn overlay(lower: &mut toml::Table, upper: toml::Table) {
    for (name, value) in upper {
        match (lower.get_mut(&name), value) {
            (Some(toml::Value::Table(lower)), toml::Value::Table(upper)) => overlay(lower, upper),
            (_, value) => {
                lower.insert(name, value);
            }
        }
    }
}

/// serde's words for an unknown key (``unknown field `x`, expected one of `a`, `b` ``) with a proposal instead of the list.
fn hal_problem(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown "), quoted.next()) {
        (true, Some(word)) => format!("\"{word}\" is unknown{}", suggest::hint(word, quoted)),
        _ => message.to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}
