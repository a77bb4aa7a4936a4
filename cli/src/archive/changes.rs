//! The list of what may have changed, as `backup --changes` takes it: paths a line or ended by zero bytes. Looks at no content.

use crate::error::Error;
use homing_backup::Id;
use homing_backup::archiver::{Changes, Reach};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A list longer than this is not read: it would name everything.
const MOST_BYTES: u64 = 256 << 20;

/// The list, and how many of its paths lie in none of the folders.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) changes: Changes,
    pub(super) elsewhere: usize,
    pub(super) paths: usize,
}

/// Reads a list from a file or, for `-`, from standard input.
pub(super) fn read(from: &Path, since: Option<Id>, folders: &[&Path]) -> Result<Listed, Error> {
    let failed = |source| Error::Read {
        path: from.into(),
        source,
    };
    let mut bytes = Vec::new();
    let opened: Box<dyn Read> = match from.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(from).map_err(failed)?),
    };
    opened
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::Usage(
            "the list of changes is too long: back up without it".into(),
        ));
    }
    let here = std::env::current_dir().map_err(failed)?;
    list(&bytes, since, folders, &here)
}

fn list(bytes: &[u8], since: Option<Id>, folders: &[&Path], here: &Path) -> Result<Listed, Error> {
    let end = if bytes.contains(&0) { 0 } else { b'\n' };
    let mut listed = Listed {
        changes: Changes::since(since),
        elsewhere: 0,
        paths: 0,
    };
    for name in bytes.split(|byte| *byte == end) {
        if name.is_empty() {
            continue;
        }
        let reach = match name.ends_with(b"/") {
            true => Reach::Below,
            false => Reach::Entry,
        };
        listed.paths += 1;
        let path = without_links(&here.join(OsStr::from_bytes(name)))?;
        if folders.iter().any(|folder| path.starts_with(folder)) {
            listed.changes.add(path, reach);
        } else {
            listed.elsewhere += 1;
        }
    }
    Ok(listed)
}

/// The path as the archive knows it: no link on the way, the last name as it is, whether it is there or not.
fn without_links(path: &Path) -> Result<PathBuf, Error> {
    let Some(name) = path.file_name() else {
        // The root, or a path that ends in "..".
        return path.canonicalize().map_err(|source| Error::Read {
            path: path.into(),
            source,
        });
    };
    let mut gone = vec![name];
    let mut above = path.parent();
    while let Some(folder) = above {
        if let Ok(real) = folder.canonicalize() {
            return Ok(real.join(gone.iter().rev().collect::<PathBuf>()));
        }
        match folder.components().next_back() {
            Some(Component::Normal(name)) => gone.push(name),
            _ => break,
        }
        above = folder.parent();
    }
    Err(Error::Usage(format!(
        "{} leads through a folder that is gone: give the path without \"..\"",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_zero_bytes_end_a_path_and_links_on_the_way_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        std::fs::create_dir_all(root.join("real/in")).expect("made");
        std::os::unix::fs::symlink("real", root.join("link")).expect("made");
        let path = |text: &str| without_links(&root.join(text)).expect("a path");
        assert_eq!(path("link/in/x"), root.join("real/in/x"));
        assert_eq!(path("link"), root.join("link"));
        assert_eq!(path("link/gone/x"), root.join("real/gone/x"));
        assert_eq!(path("real/in/../y"), root.join("real/y"));
        assert!(without_links(&root.join("gone/../x")).is_err());

        let folders = [root.as_path()];
        let counts = |text: &str| {
            let listed = list(text.as_bytes(), None, &folders, &root).expect("a list");
            (listed.paths, listed.elsewhere)
        };
        assert_eq!(counts("a\nreal/\n\n/etc/passwd\n"), (3, 1));
        assert_eq!(counts("a line\nbreak\0b\0"), (2, 0));
        assert_eq!(counts(""), (0, 0));
    }
}
