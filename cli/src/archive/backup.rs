//! `backup`: folders into a snapshot, with progress, and with the truth about what could not be read.

use super::args::Backup;
use super::meter::Meter;
use super::{Context, changes, open, size};
use crate::commands;
use crate::error::Error;
use crate::output::{Output, harmless};
use homing_backup::Id;
use homing_backup::archiver::{
    self, Caches, Changes, Done, FileSystems, Looked, Observer, Options, PACK_BYTES, Problem,
    Progress,
};
use homing_backup::clock::SystemClock;
use homing_backup::lookup;
use homing_backup::os::identity::hostname;
use homing_backup::repository::Repository;
use homing_backup::store::Store;
use serde::Serialize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders that hold users' caches by the XDG base directory specification, where they have not set `XDG_CACHE_HOME`.
const USERS_CACHES: &[&str] = &["/home/*/.cache", "/root/.cache"];

struct Watching<'a> {
    context: &'a Context,
    meter: Meter,
}

impl Observer for Watching<'_> {
    fn progress(&mut self, progress: &Progress) -> bool {
        self.meter.show(|| {
            format!(
                "{} entries, {} read, {} new",
                progress.entries,
                size(progress.bytes),
                size(progress.stored_bytes)
            )
        });
        self.context.interrupt.is_asked()
    }

    fn problem(&mut self, problem: &Problem) {
        self.meter.clear();
        self.context.out.warn(&harmless(&problem.to_string()));
    }
}

#[derive(Serialize)]
struct Report<'a> {
    snapshot: String,
    parent: Option<String>,
    #[serde(flatten)]
    summary: Option<&'a homing_backup::snapshot::Summary>,
    /// Always there, unlike in the summary.
    complete: bool,
    /// Was only looked at the changes that were given?
    followed_changes: bool,
}

/// Runs it.
pub(crate) fn run(context: &Context, args: &Backup) -> Result<(), Error> {
    let folders = args
        .folders
        .iter()
        .map(|folder| whole_path(folder))
        .collect::<Result<Vec<_>, _>>()?;
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let repository = open::repository(context, &args.at)?;
    let told = told(context.out, &repository, args, &folders)?;
    let mut watching = Watching {
        context,
        meter: Meter::new(),
    };
    let options = options(
        context.out,
        args,
        state_folder(context.out, &repository, &folders),
    );
    let clock = &SystemClock;
    let done = archiver::archive(&repository, &folders, told, &options, clock, &mut watching);
    drop(watching);
    let done = done?;
    if let Looked::AtEverythingInstead(why) = done.looked {
        context.out.warn(&format!(
            "the changes were not followed and everything was looked at: {why}"
        ));
    }
    tell(context.out, &done)?;
    match done.snapshot.summary.as_ref().map_or(0, |of| of.errors) {
        0 => Ok(()),
        errors => Err(Error::Incomplete(format!(
            "the snapshot was made but is not complete: {errors} items could not be backed up properly"
        ))),
    }
}

/// What may have changed, if that was given.
fn told<S: Store>(
    out: Output,
    repository: &Repository<S>,
    args: &Backup,
    folders: &[&Path],
) -> Result<Option<Changes>, Error> {
    let Some(file) = &args.changes else {
        return Ok(None);
    };
    let since = args.since.as_deref();
    let since = since
        .map(|name| lookup::snapshot(repository, name))
        .transpose()?;
    let listed = changes::read(file, since.map(|(id, _)| id), folders)?;
    if listed.elsewhere > 0 {
        out.warn(&format!(
            "{} of {} changes lie in none of the folders",
            listed.elsewhere, listed.paths
        ));
    }
    Ok(Some(listed.changes))
}

/// An absolute path without links, as the archive keeps it.
fn whole_path(folder: &Path) -> Result<PathBuf, Error> {
    folder.canonicalize().map_err(|source| Error::Read {
        path: folder.into(),
        source,
    })
}

/// `$XDG_CACHE_HOME/homing/archive/…`, else `~/.cache/…`: what is lost with it is found out again. One folder for each
/// repository and set of folders; without a home there is none, nor where it cannot be made.
fn state_folder<S>(out: Output, repository: &Repository<S>, folders: &[&Path]) -> Option<PathBuf>
where
    S: Store,
{
    let mut names: Vec<&[u8]> = folders.iter().map(|it| it.as_os_str().as_bytes()).collect();
    names.sort_unstable();
    let which = Id::of(&names.join(&0));
    let name = format!("{}-{}", repository.config().id.short(), which.short());
    if let Some(path) = commands::ignored_cache_home() {
        let path = harmless(&path.to_string_lossy());
        out.warn(&format!(
            "XDG_CACHE_HOME is {path}, which is no absolute path and is ignored: ~/.cache is used"
        ));
    }
    let folder = commands::cache_folder()?.join("homing/archive").join(name);
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Some(folder),
        Err(error) => {
            let folder = harmless(&folder.to_string_lossy());
            out.warn(&format!(
                "cannot make {folder}: {error}; nothing is remembered for the next run, which will take longer"
            ));
            None
        }
    }
}

fn options(out: Output, args: &Backup, state: Option<PathBuf>) -> Options {
    let mut excludes = args.exclude.clone();
    if args.exclude_caches {
        excludes.extend(USERS_CACHES.iter().map(|pattern| (*pattern).to_owned()));
        match own_cache(commands::cache_folder(), std::env::home_dir()) {
            Ok(pattern) => excludes.extend(pattern),
            Err(why) => out.warn(&format!("the folder of your caches is backed up: {why}")),
        }
    }
    Options {
        hostname: args.host.clone().unwrap_or_else(hostname),
        tags: args.tag.clone(),
        excludes,
        file_systems: match args.one_file_system {
            true => FileSystems::One,
            false => FileSystems::All,
        },
        caches: match args.exclude_caches {
            true => Caches::Skip,
            false => Caches::Keep,
        },
        pack_bytes: PACK_BYTES,
        lock_renewal: homing_backup::lock::RENEWAL,
        program_version: concat!("homing ", env!("CARGO_PKG_VERSION")).into(),
        state,
    }
}

/// Where this user's caches are, which may be elsewhere. The walk names folders by paths without links; one that is not there
/// needs no leaving out. A backup that leaves out too much is none: what is more than caches, or cannot be named exactly by a
/// pattern, stays in it, and the error says why.
fn own_cache(
    folder: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<Option<String>, &'static str> {
    let Some(folder) = folder.and_then(|folder| folder.canonicalize().ok()) else {
        return Ok(None);
    };
    let home = home.and_then(|home| home.canonicalize().ok());
    if folder.parent().is_none() || home.is_some_and(|home| home.starts_with(&folder)) {
        return Err("XDG_CACHE_HOME names a folder that holds all of your home");
    }
    let name = folder.into_os_string().into_string();
    let name = name.map_err(|_| "its name is not UTF-8")?;
    if name.contains(['*', '?']) {
        return Err("its name holds * or ?, which would leave out others, too");
    }
    Ok(Some(name))
}

fn tell(out: Output, done: &Done) -> Result<(), Error> {
    let id = done.id.to_string();
    let summary = done.snapshot.summary.as_ref();
    let report = Report {
        snapshot: id.clone(),
        parent: done.snapshot.parent.map(|parent| parent.to_string()),
        summary,
        complete: summary.is_none_or(|of| of.errors == 0),
        followed_changes: done.looked == Looked::AtChanges,
    };
    let counts = summary.map_or_else(String::new, |of| {
        format!(
            ": {} files, {}; {} new, {} changed; {} added, {} stored",
            of.total_files_processed,
            size(of.total_bytes_processed),
            of.files_new,
            of.files_changed,
            size(of.data_added),
            size(of.data_added_packed)
        )
    });
    out.both(&format!("snapshot {}{counts}", &id[..8]), &report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_folder_that_was_put_elsewhere_is_left_out_by_its_true_path() {
        let folder = tempfile::tempdir().expect("made");
        let there = folder.path().canonicalize().expect("there");
        let link = there.join("link");
        std::os::unix::fs::symlink(&there, &link).expect("linked");
        let found = own_cache(Some(link), None).expect("fits");
        assert_eq!(found.as_deref(), there.to_str());
        assert_eq!(own_cache(Some(there.join("gone")), None), Ok(None));
        assert_eq!(own_cache(None, None), Ok(None));
    }

    #[test]
    fn a_cache_folder_that_is_more_than_that_or_fits_others_is_not_left_out() {
        use std::os::unix::ffi::OsStringExt;
        let folder = tempfile::tempdir().expect("made");
        let home = folder.path().join("home");
        let odd = std::ffi::OsString::from_vec(b"caches\xff".to_vec());
        let (starred, odd) = (home.join("caches*"), home.join(odd));
        for made in [&home, &starred, &odd] {
            std::fs::create_dir(made).expect("made");
        }
        for refused in [Path::new("/"), folder.path(), &home, &starred, &odd] {
            let left_out = own_cache(Some(refused.into()), Some(home.clone()));
            assert!(left_out.is_err(), "{}", refused.display());
        }
        assert!(own_cache(Some("/".into()), None).is_err());
    }
}
