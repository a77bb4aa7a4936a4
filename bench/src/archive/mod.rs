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
use std::fs::File;
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

/// Bytes of the phone's whole set with the repository and the restored copy of one program, the largest with what it stores
/// twice after a kill.
const PHONE_BYTES: u64 = 23_000_000_000;
/// Bytes of the many files with a repository and a restored copy for each program, blocks of the file system included.
const MANY_BYTES: u64 = 14_000_000_000;

/// A benchmark under way.
struct Bench {
    scratch: Scratch,
    scale: Scale,
    record: Record,
    programs: Vec<Program>,
    /// Every figure by its name, for the ratios.
    figures: BTreeMap<String, f64>,
    /// What each step cost in each round.
    rounds: BTreeMap<String, Vec<Usage>>,
    /// Bytes of each step in each round.
    bytes: BTreeMap<String, Samples>,
}

/// Measures the phone's set in folders.
///
/// # Errors
/// No room, or a program that fails.
pub(crate) fn run(scale: Scale) -> Result<(), Error> {
    let mut bench = Bench::new("backup", scale, Program::here(), PHONE_BYTES)?;
    phone::measure(&mut bench)?;
    bench.end()
}

/// Measures the phone's set to and from a server.
///
/// # Errors
/// As [`run`].
pub(crate) fn wire(scale: Scale) -> Result<(), Error> {
    let mut programs = Program::here();
    programs.retain(|program| program.knows_rest());
    let mut bench = Bench::new("wire", scale, programs, PHONE_BYTES)?;
    wire::measure(&mut bench)?;
    bench.end()
}

/// Measures how changes among many files are found, or told, and their restore.
///
/// # Errors
/// As [`run`].
pub(crate) fn many(scale: Scale) -> Result<(), Error> {
    let mut bench = Bench::new("many", scale, Program::here(), MANY_BYTES)?;
    many::measure(&mut bench)?;
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
            rounds: BTreeMap::new(),
            bytes: BTreeMap::new(),
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
        for (name, usages) in std::mem::take(&mut self.rounds) {
            self.note(&name, &usages);
        }
        for (name, samples) in std::mem::take(&mut self.bytes) {
            self.figures.insert(name.clone(), samples.median());
            self.record.figure(&name, "MiB", &samples);
        }
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

    /// Keeps what a step cost in one round; all rounds are noted at the end.
    fn keep(&mut self, name: String, usage: Usage) {
        eprintln!(
            "  {name}: {:.2} s of processor time in {:.1} s, {} KiB",
            usage.processor.as_secs_f64(),
            usage.wall.as_secs_f64(),
            usage.peak_kib
        );
        self.rounds.entry(name).or_default().push(usage);
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark")]
    fn keep_bytes(&mut self, name: String, bytes: u64) {
        let samples = self.bytes.entry(name).or_default();
        samples.push(bytes as f64 / f64::from(1 << 20));
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

/// Brings all files below a folder into memory and everything written before to the disk, so that no program pays for what
/// another one left to do.
fn settle(folder: &Path) -> Result<(), Error> {
    nix::unistd::sync();
    for path in files_below(folder).into_keys() {
        let read =
            File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
        read.map_err(|source| Error::Read { path, source })?;
    }
    Ok(())
}

/// Gives back the room of all files below a folder and leaves the files: ext4 looks long for an inode among those that were
/// removed in the last minutes, and whoever restores next would pay for it.
fn hollow(folder: &Path) -> Result<(), Error> {
    for path in files_below(folder).into_keys() {
        let opened = File::options().write(true).open(&path);
        opened
            .and_then(|file| file.set_len(0))
            .map_err(written(&path))?;
    }
    Ok(())
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
