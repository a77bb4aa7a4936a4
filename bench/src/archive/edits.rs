//! What people and programs do to files between two backups. It must do the same each time it is asked.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::set;
use crate::error::{Error, written};
use crate::weather::{Dice, SEED};

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
        let path = root.join("db/mail.sqlite");
        for edit in Edit::ALL {
            let before = std::fs::read(&path).unwrap();
            edit.make(&path).unwrap();
            assert!(before != std::fs::read(&path).unwrap(), "{edit:?}");
        }
        assert_eq!(ten(&root, 1).unwrap().len(), 10);
    }
}
