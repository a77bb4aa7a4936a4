//! The archive beside restic, rustic and borg on the same files in the same run: processor, memory, bytes, requests. It must not measure one on more than the others.

mod edits;
mod figures;
mod lstat;
mod many;
mod phone;
mod programs;
mod server;
mod set;
pub(crate) mod usage;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Scratch;

use crate::error::{Error, written};
use crate::record::Record;
use crate::samples::Samples;
use programs::{Archive, Program};
use usage::Usage;

pub(crate) use lstat::{WORD as LSTAT, walk};
pub(crate) use set::Scale;
pub(crate) use usage::{WORD as USAGE, observe};

/// Bytes of the whole sets with a repository and a restored copy of each program.
const WHOLE_BYTES: u64 = 60_000_000_000;
/// Bytes of the many files alone with two repositories, blocks of the file system included.
const SCAN_BYTES: u64 = 5_000_000_000;

/// A benchmark under way.
struct Bench {
    scratch: Scratch,
    scale: Scale,
    record: Record,
    programs: Vec<Program>,
    /// Every figure by its name, for the ratios.
    figures: BTreeMap<String, f64>,
}

/// Measures everything.
///
/// # Errors
/// No room, or a program that fails.
pub(crate) fn run(scale: Scale) -> Result<(), Error> {
    let mut bench = Bench::new("backup", scale, Program::here(), WHOLE_BYTES)?;
    phone::measure(&mut bench)?;
    many::measure(&mut bench)?;
    bench.end()
}

/// Measures only how changes among many files are found, or told, beside the peers that are quickest at it, who look once.
///
/// # Errors
/// As [`run`].
pub(crate) fn scan(scale: Scale) -> Result<(), Error> {
    let mut programs = Program::here();
    programs.retain(|program| *program != Program::Borg);
    let mut bench = Bench::new("scan", scale, programs, SCAN_BYTES)?;
    many::scan(&mut bench, 1)?;
    bench.end()
}

impl Bench {
    fn new(
        name: &'static str,
        scale: Scale,
        programs: Vec<Program>,
        whole_bytes: u64,
    ) -> Result<Self, Error> {
        let mut bench = Self {
            scratch: Scratch::new(),
            scale,
            record: Record::new(name),
            programs,
            figures: BTreeMap::new(),
        };
        bench.has_room(whole_bytes)?;
        for program in &bench.programs {
            let question: &'static [&'static str] = match program {
                Program::Restic => &["version"],
                _ => &["--version"],
            };
            if let Some(binary) = program.binary() {
                bench.record.program(program.name(), &binary, question);
            }
        }
        bench.record.setting("percent_of_the_whole_set", scale.0);
        Ok(bench)
    }

    /// Works out the ratios and writes everything down.
    fn end(mut self) -> Result<(), Error> {
        figures::ratios(&mut self);
        self.record.write(self.scratch.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn has_room(&self, whole_bytes: u64) -> Result<(), Error> {
        let failed = |errno: nix::Error| Error::Read {
            path: self.scratch.path().to_path_buf(),
            source: errno.into(),
        };
        let disk = nix::sys::statvfs::statvfs(self.scratch.path()).map_err(failed)?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        let needed = whole_bytes / 100 * u64::from(self.scale.0);
        match free >= needed {
            true => Ok(()),
            false => Err(Error::Usage(format!(
                "{} bytes are needed for that scale and {free} are free",
                needed
            ))),
        }
    }

    /// One archive for each program, in a folder of that name.
    fn archives(&self, set: &str) -> Result<Vec<Archive>, Error> {
        let programs = self.programs.iter();
        programs
            .map(|program| self.archive(*program, set))
            .collect()
    }

    fn archive(&self, program: Program, set: &str) -> Result<Archive, Error> {
        let folder = self.path(&format!("{set}-{}", program.name()));
        Archive::new(program, folder.join("repository"), &folder.join("home"))
    }

    /// Bytes of a program's repository.
    fn stored(&self, program: Program, set: &str) -> u64 {
        bytes_below(&self.path(&format!("{set}-{}/repository", program.name())))
    }

    fn run(&self, command: &Command) -> Result<Usage, Error> {
        usage::run(command, self.scratch.path())
    }

    /// Notes what several runs of one thing cost.
    fn note(&mut self, name: &str, usages: &[Usage]) {
        let mut one = |what: &str, unit: &str, of: &dyn Fn(&Usage) -> f64| {
            let mut samples = Samples::default();
            usages.iter().for_each(|usage| samples.push(of(usage)));
            self.figures
                .insert(format!("{name}.{what}"), samples.median());
            self.record
                .figure(&format!("{name}.{what}"), unit, &samples);
        };
        one("cpu", "s", &|usage| usage.processor.as_secs_f64());
        one("system", "s", &|usage| usage.system.as_secs_f64());
        one("wall", "s", &|usage| usage.wall.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "KiB of memory")]
        one("peak", "MiB", &|usage| usage.peak_kib as f64 / 1024.0);
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark")]
    fn note_bytes(&mut self, name: &str, bytes: u64) {
        self.note_number(name, "MiB", bytes as f64 / f64::from(1 << 20));
    }

    fn note_number(&mut self, name: &str, unit: &str, number: f64) {
        self.figures.insert(name.to_owned(), number);
        self.record.number(name, unit, number);
    }
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    files_below(folder).values().sum()
}

/// All files below a folder with their sizes. What vanishes meanwhile is not there.
fn files_below(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => open.push(entry.path()),
                Ok(data) => {
                    files.insert(entry.path(), data.len());
                }
                Err(_) => {}
            }
        }
    }
    files
}

/// A folder that is there and empty.
fn empty(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(written(path)(error));
        }
        _ => {}
    }
    std::fs::create_dir_all(path).map_err(written(path))
}
