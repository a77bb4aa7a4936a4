//! What people and programs do to files between two backups. It must do the same each time it is asked.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::set;
use crate::error::{Error, written};
use crate::weather::{Dice, SEED};

/// The database that changes, below the set's folder.
pub(crate) const DATABASE: &str = "db/mail.sqlite";

/// Copies of the files that the changes here are made to, as they were before.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Each file, and its copy.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Kept {
    /// Copies them into a folder of their own.
    ///
    /// # Errors
    /// They cannot be copied.
    pub(crate) fn of(root: &Path, into: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(into).map_err(written(into))?;
        let mut files = Vec::new();
        for (number, file) in chosen(root)?.into_iter().enumerate() {
            let copy = into.join(number.to_string());
            std::fs::copy(&file, &copy).map_err(written(&copy))?;
            files.push((file, copy));
        }
        Ok(Self { files })
    }

    /// Undoes all changes.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn put_back(&self) -> Result<(), Error> {
        for (file, copy) in &self.files {
            std::fs::copy(copy, file).map_err(written(file))?;
        }
        Ok(())
    }
}

/// All that these changes are made to.
fn chosen(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = set::some_small(root, 10)?;
    files.push(root.join(DATABASE));
    Ok(files)
}

/// Changes of one database.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    /// 1 MiB in the middle is written over.
    Contiguous,
    /// A word in one row of each 5,000.
    Scattered,
    /// 1,000 rows more.
    Appended,
    /// 1,000 rows less, out of the middle.
    Removed,
    /// The file is written anew without its gaps.
    Vacuumed,
}

impl Edit {
    /// All, in the order in which they are made: the last leaves bytes that SQLite would not read.
    pub(crate) const ALL: [Self; 5] = [
        Self::Scattered,
        Self::Appended,
        Self::Removed,
        Self::Vacuumed,
        Self::Contiguous,
    ];

    /// Its name in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Contiguous => "contiguous",
            Self::Scattered => "scattered",
            Self::Appended => "appended",
            Self::Removed => "removed",
            Self::Vacuumed => "vacuumed",
        }
    }

    /// Changes a database so.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn make(self, path: &Path) -> Result<(), Error> {
        let sql = match self {
            Self::Contiguous => return overwrite(path),
            Self::Scattered => {
                "UPDATE message SET who = who || '!'
                 WHERE id % (SELECT min(5000, count(*) / 5) FROM message) = 0"
            }
            Self::Appended => {
                "INSERT INTO message (at, who, body, extra)
                 SELECT at + 1, who, substr(body, 9) || substr(body, 1, 8), extra FROM message LIMIT 1000"
            }
            Self::Removed => {
                "DELETE FROM message WHERE id IN
                 (SELECT id FROM message LIMIT 1000 OFFSET (SELECT count(*) / 2 FROM message))"
            }
            Self::Vacuumed => "VACUUM",
        };
        let database = Connection::open(path)?;
        // Without a journal nothing is left beside the file.
        database.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        Ok(database.execute_batch(sql)?)
    }
}

/// Pages of user data, as a program that rewrites many rows in a line leaves them.
fn overwrite(path: &Path) -> Result<(), Error> {
    let failed = written(path);
    let mut noise = Vec::with_capacity(1 << 20);
    let mut dice = Dice::new(SEED);
    while noise.len() < 1 << 20 {
        noise.extend_from_slice(&dice.next().to_le_bytes());
    }
    let mut file = OpenOptions::new().write(true).open(path).map_err(&failed)?;
    let half = file.metadata().map_err(&failed)?.len() / 2;
    file.seek(SeekFrom::Start(half / 4096 * 4096))
        .and_then(|_| file.write_all(&noise))
        .map_err(failed)
}

/// Changes ten small files spread over the folder; `time` makes each time another change. Returns their paths.
///
/// # Errors
/// They cannot be written.
pub(crate) fn ten(root: &Path, time: u32) -> Result<Vec<PathBuf>, Error> {
    let files = set::some_small(root, 10)?;
    for path in &files {
        let failed = written(path);
        let mut file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(&failed)?;
        writeln!(file, "changed for the {time}. time").map_err(failed)?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_changes_a_database() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("phone");
        set::phone(&root, set::Scale(1)).unwrap();
        let path = root.join(DATABASE);
        for edit in Edit::ALL {
            let before = std::fs::read(&path).unwrap();
            edit.make(&path).unwrap();
            assert!(before != std::fs::read(&path).unwrap(), "{edit:?}");
        }
        assert_eq!(ten(&root, 1).unwrap().len(), 10);
    }

    #[test]
    fn what_was_changed_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("phone");
        set::phone(&root, set::Scale(1)).unwrap();
        let read = || -> Vec<Vec<u8>> {
            let files = chosen(&root).unwrap().into_iter();
            files.map(|file| std::fs::read(file).unwrap()).collect()
        };
        let before = read();
        let kept = Kept::of(&root, &folder.path().join("kept")).unwrap();
        ten(&root, 1).unwrap();
        Edit::Contiguous.make(&root.join(DATABASE)).unwrap();
        assert!(before.iter().zip(read()).all(|(one, other)| *one != other));
        kept.put_back().unwrap();
        assert!(before == read());
    }
}
