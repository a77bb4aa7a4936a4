//! What lies on a phone, made from a seed: many small texts, a few databases, pictures, recordings. It must be the same on every machine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::{Error, written};
use crate::weather::{Dice, SEED};

/// How much of the whole set is made, in percent. The whole is 7 GB with 100,000 small files, and 500,000 tiny ones besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale(pub(crate) u32);

impl Scale {
    /// How often everything is measured: once where it takes long.
    pub(crate) const fn rounds(self) -> usize {
        if self.0 > 20 { 1 } else { 3 }
    }

    /// So much of a number of the whole set, at least one.
    fn of(self, whole: u64) -> u64 {
        (whole * u64::from(self.0) / 100).max(1)
    }
}

/// Words of everyday messages, so that texts shrink about as much as real ones do.
const WORDS: &str = "hello when are you home the train was late again see tomorrow at eight thanks for dinner \
    mother called about sunday please bring bread and milk i will be there in ten minutes where did we park \
    photo from holiday is great ok good night love to all meeting moved room two write me number of that \
    doctor her birthday next week can pick up children from school at three key lies under the mat no yes \
    maybe later today not now it has been raining all day how much did that cost we should go together";
/// Folders of small files, and how their files end.
const KINDS: [(&str, &str); 4] = [
    ("contacts", "vcf"),
    ("messages", "json"),
    ("notes", "txt"),
    ("config", "conf"),
];

struct Maker {
    dice: Dice,
    words: Vec<&'static str>,
}

/// Makes the phone's folder: small files of 0.5 to 20 KB, three databases, pictures of about 2 MB, recordings of 10 MB.
///
/// # Errors
/// No room, or the folder is there.
pub(crate) fn phone(root: &Path, scale: Scale) -> Result<(), Error> {
    let mut maker = Maker::new(1);
    maker.small(root, scale.of(100_000), 50, (512, 20_000))?;
    folder(&root.join("db"))?;
    for (name, megabytes) in [("msgs", 200), ("mail", 100), ("maps", 50)] {
        let path = root.join("db").join(name).with_extension("sqlite");
        let rows = u32::try_from(scale.of(megabytes * 1_000)).unwrap_or(u32::MAX);
        maker.database(&path, rows)?;
    }
    for number in 0..scale.of(2_000) {
        let within = root.join(format!("DCIM/{:03}", number / 100));
        folder(&within)?;
        let bytes = 1_500_000 + maker.below(1_000_000);
        let path = within.join(format!("IMG_{number:05}.jpg"));
        maker.file(&path, |maker, into| maker.noise(bytes, into))?;
    }
    folder(&root.join("Recordings"))?;
    for number in 0..scale.of(200) {
        let path = root.join(format!("Recordings/REC_{number:04}.wav"));
        maker.file(&path, Maker::recording)?;
    }
    Ok(())
}

/// Makes a folder of 500,000 files (scaled) of 100 to 800 bytes, 100 in each of its folders.
///
/// # Errors
/// As [`phone`].
pub(crate) fn many(root: &Path, scale: Scale) -> Result<(), Error> {
    Maker::new(2).small(root, scale.of(500_000), 100, (100, 800))
}

/// Paths of `count` of the small files below a folder, spread over all of them.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn some_small(root: &Path, count: usize) -> Result<Vec<PathBuf>, Error> {
    let mut folders = vec![root.join("notes")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let failed = |source| Error::Read {
            path: folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    let step = (files.len() / count).max(1);
    Ok(files.into_iter().step_by(step).take(count).collect())
}

impl Maker {
    fn new(number: u64) -> Self {
        Self {
            dice: Dice::new(SEED + number),
            words: WORDS.split_whitespace().collect(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.dice.next() % limit
    }

    fn small(
        &mut self,
        root: &Path,
        files: u64,
        in_each: u64,
        sizes: (u64, u64),
    ) -> Result<(), Error> {
        for number in 0..files {
            let (kind, ending) = KINDS[usize::try_from(number % 4).unwrap_or(0)];
            let within = root.join(kind).join(format!("{:05}", number / 4 / in_each));
            if (number / 4).is_multiple_of(in_each) {
                folder(&within)?;
            }
            let bytes = self.between_by_scale(sizes);
            let path = within.join(format!("{number:06}.{ending}"));
            self.file(&path, |maker, into| {
                writeln!(into, "id: {number}")?;
                maker.text(bytes, into)
            })?;
        }
        Ok(())
    }

    /// A size of which each power of two is as likely as the next.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "sizes of small files"
    )]
    fn between_by_scale(&mut self, (low, high): (u64, u64)) -> u64 {
        let place = self.below(10_000) as f64 / 10_000.0;
        (low as f64 * (high as f64 / low as f64).powf(place)) as u64
    }

    fn file(
        &mut self,
        path: &Path,
        fill: impl FnOnce(&mut Self, &mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let failed = written(path);
        let mut file = BufWriter::new(File::create(path).map_err(&failed)?);
        fill(self, &mut file)
            .and_then(|()| file.flush())
            .map_err(failed)
    }

    /// Words, and now and then a number, as text of just so many bytes.
    fn text(&mut self, bytes: u64, into: &mut dyn Write) -> std::io::Result<()> {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let place = usize::try_from(self.below(self.words.len() as u64)).unwrap_or(0);
            let mut word = match self.below(12) {
                0 => format!("{} ", self.dice.next() >> 24),
                _ => format!("{} ", self.words[place]),
            };
            word.truncate(left);
            left -= word.len();
            into.write_all(word.as_bytes())?;
        }
        Ok(())
    }

    /// Bytes that do not shrink, as those of pictures.
    fn noise(&mut self, bytes: u64, into: &mut dyn Write) -> std::io::Result<()> {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let piece = self.dice.next().to_le_bytes();
            let length = left.min(piece.len());
            into.write_all(&piece[..length])?;
            left -= length;
        }
        Ok(())
    }

    /// Sound without compression: three parts of noise, one that shrinks well, in turn.
    fn recording(&mut self, into: &mut dyn Write) -> std::io::Result<()> {
        for _ in 0..160 {
            self.noise(48 << 10, into)?;
            let mut quiet = Vec::new();
            self.text(2 << 10, &mut quiet)?;
            for _ in 0..8 {
                into.write_all(&quiet)?;
            }
        }
        Ok(())
    }

    /// A database of messages, about a kilobyte each.
    fn database(&mut self, path: &Path, rows: u32) -> Result<(), Error> {
        let mut database = Connection::open(path)?;
        database.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             CREATE TABLE message (id INTEGER PRIMARY KEY, at INTEGER, who TEXT, body TEXT, extra BLOB);",
        )?;
        let all = database.transaction()?;
        {
            let mut insert =
                all.prepare("INSERT INTO message (at, who, body, extra) VALUES (?1, ?2, ?3, ?4)")?;
            for number in 0..rows {
                let (mut body, mut extra) = (Vec::new(), Vec::new());
                // A vector takes everything.
                let _ = self.text(500, &mut body);
                let _ = self.noise(420, &mut extra);
                let who = format!("+4917{}", self.dice.next() >> 34);
                insert.execute((number, who, String::from_utf8_lossy(&body), extra))?;
            }
        }
        Ok(all.commit()?)
    }
}

fn folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(written(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_set() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let read = |root: &Path| -> Vec<Vec<u8>> {
            let files = some_small(root, 5).unwrap();
            files
                .iter()
                .map(|file| std::fs::read(file).unwrap())
                .collect()
        };
        for root in [one.path(), two.path()] {
            Maker::new(2).small(root, 400, 10, (100, 800)).unwrap();
        }
        assert_eq!(read(one.path()).len(), 5);
        assert_eq!(read(one.path()), read(two.path()));
        assert!(
            read(one.path())
                .iter()
                .all(|file| (100..900).contains(&file.len()))
        );
    }
}
