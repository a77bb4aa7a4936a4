//! A repository in a local folder, laid out as restic lays it out. Replaces nothing: files appear whole under their names.

use super::{Class, Kind, Name, Store, StoreError};
use crate::id::Id;
use crate::timestamp::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
}

/// Bytes written at once. A kernel that is given megabytes at a time takes larger pages for them, and on a virtual machine those
/// are dear (probably because its host takes back the large free ones): a backup of pictures took 1.85 s of processor time where
/// it takes 1.37 so.
const PIECE: usize = 128 << 10;

/// Files under construction carry this and a random number after their name: process numbers of two containers may be one.
const UNFINISHED: &str = "-tmp-";

impl LocalStore {
    /// A store in that folder, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn folder(&self, kind: Kind) -> PathBuf {
        self.root.join(kind.folder())
    }

    fn path(&self, name: Name) -> PathBuf {
        match name {
            Name::Config => self.root.join("config"),
            Name::File(Kind::Pack, id) => {
                let hex = id.to_string();
                self.folder(Kind::Pack).join(&hex[..2]).join(hex)
            }
            Name::File(kind, id) => self.folder(kind).join(id.to_string()),
        }
    }

    fn list_folder(&self, path: &Path, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        let failed = failure("listing", path);
        let folder = match open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => folder,
            // A repository by another program may lack the folders of kinds it has none of.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        };
        for entry in rustix::fs::Dir::read_from(&folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let Some(id) = std::str::from_utf8(entry.file_name().to_bytes())
                .ok()
                .and_then(|name| name.parse::<Id>().ok())
            else {
                continue;
            };
            match rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                    each(id, u64::try_from(stat.st_size).unwrap_or(0));
                }
                // Gone since it was listed: somebody refreshed a lock.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    /// A name is as durable as the folder it is in, and a pack's folder as the one above it: another may have made both.
    fn sync_above(&self, name: Name) -> Result<(), Errno> {
        let path = self.path(name);
        sync_folder(path.parent().unwrap_or(&self.root))?;
        match name {
            Name::File(Kind::Pack, _) => sync_folder(&self.folder(Kind::Pack)),
            Name::File(..) | Name::Config => Ok(()),
        }
    }

    fn put_new(&self, path: &Path, bytes: &[u8], settling: Settling) -> Result<(), Errno> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(unfinished_ending()?);
        let unfinished = PathBuf::from(unfinished);
        let done = write_durably(&unfinished, bytes)
            .and_then(|file| {
                match settling {
                    Settling::Replace => rustix::fs::rename(&unfinished, path)?,
                    Settling::OnlyNew => settle_new(&unfinished, path)?,
                }
                sync_renamed(&file)
            })
            .and_then(|()| sync_folder(path.parent().unwrap_or(&self.root)));
        if done.is_err() {
            // The first failure is the one to report.
            let _ = rustix::fs::unlink(&unfinished);
        }
        done
    }
}

impl Store for LocalStore {
    fn prepare(&self) -> Result<(), StoreError> {
        make_folder(&self.root)?;
        for kind in Kind::ALL {
            make_folder(&self.folder(kind))?;
        }
        for byte in 0..=u8::MAX {
            make_folder(&self.folder(Kind::Pack).join(format!("{byte:02x}")))?;
        }
        sync_folder(&self.folder(Kind::Pack))
            .and_then(|()| sync_folder(&self.root))
            .and_then(|()| sync_above_root(&self.root))
            .map_err(failure("syncing", &self.root))
    }

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        let folder = self.folder(kind);
        if kind != Kind::Pack {
            return self.list_folder(&folder, each);
        }
        for byte in 0..=u8::MAX {
            self.list_folder(&folder.join(format!("{byte:02x}")), each)?;
        }
        Ok(())
    }

    fn size(&self, name: Name) -> Result<u64, StoreError> {
        let path = self.path(name);
        let stat = rustix::fs::stat(&path).map_err(failure("looking for", &path))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn written(&self, name: Name) -> Result<Option<Timestamp>, StoreError> {
        let path = self.path(name);
        let stat = rustix::fs::stat(&path).map_err(failure("looking for", &path))?;
        Ok(Some(crate::os::source::mtime(&stat)))
    }

    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name);
        let failed = failure("reading", &path);
        let mut bytes = Vec::new();
        let mut file = File::from(open(&path, OFlags::RDONLY).map_err(&failed)?);
        file.read_to_end(&mut bytes)
            .map_err(|error| failed(errno(&error)))?;
        Ok(bytes)
    }

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let path = self.path(name);
        let failed = failure("reading", &path);
        let file = File::from(open(&path, OFlags::RDONLY).map_err(&failed)?);
        buffer.clear();
        buffer.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(errno(&error))),
            }
        }
        buffer.truncate(filled);
        Ok(())
    }

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        if self.size(name).is_ok_and(|size| size == bytes.len() as u64) {
            // Whoever put it there may have died before its name was durable.
            return self.settle(name);
        }
        let settling = match name {
            Name::Config => Settling::OnlyNew,
            Name::File(..) => Settling::Replace,
        };
        match self.put_new(&path, bytes, settling) {
            // The folder of that first byte was never made, or was tidied away.
            Err(Errno::NOENT) => {
                make_folder(path.parent().unwrap_or(&self.root))?;
                self.put_new(&path, bytes, settling)
                    .and_then(|()| self.sync_above(name))
            }
            // Somebody else made it a moment ago.
            Err(Errno::EXIST) if settling == Settling::OnlyNew => self.sync_above(name),
            done => done,
        }
        .map_err(failure("writing", &path))
    }

    fn settle(&self, name: Name) -> Result<(), StoreError> {
        self.sync_above(name)
            .map_err(failure("syncing the folder of", &self.path(name)))
    }

    fn tidy(&self) -> Result<(), StoreError> {
        let packs = (0..=u8::MAX).map(|byte| self.folder(Kind::Pack).join(format!("{byte:02x}")));
        let folders = Kind::ALL.iter().map(|kind| self.folder(*kind));
        for path in folders.chain(packs).chain([self.root.clone()]) {
            let failed = failure("tidying", &path);
            let folder = match open(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => continue,
                folder => folder.map_err(&failed)?,
            };
            for entry in rustix::fs::Dir::read_from(&folder).map_err(&failed)? {
                let entry = entry.map_err(&failed)?;
                if is_remnant(entry.file_name().to_bytes()) {
                    rustix::fs::unlinkat(&folder, entry.file_name(), AtFlags::empty())
                        .map_err(&failed)?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, name: Name) -> Result<(), StoreError> {
        let path = self.path(name);
        rustix::fs::unlink(&path)
            .and_then(|()| sync_folder(path.parent().unwrap_or(&self.root)))
            .map_err(failure("removing", &path))
    }

    fn beside(&self) -> Option<Box<dyn Store + Send>> {
        Some(Box::new(self.clone()))
    }
}

fn open(path: &Path, flags: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<File, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    for piece in bytes.chunks(PIECE) {
        file.write_all(piece).map_err(|error| errno(&error))?;
    }
    // Nobody changes a stored file; restic marks it so too.
    rustix::fs::fchmod(&file, Mode::RUSR)?;
    rustix::fs::fsync(&file)?;
    Ok(file)
}

/// FAT keeps a file's size in the entry of its name, and Linux makes a new one that says 0 for a rename: a power cut would
/// leave an empty file of that name, however durable the content was under the old one.
fn sync_renamed(file: &File) -> Result<(), Errno> {
    // `MSDOS_SUPER_MAGIC` of `statfs(2)`, whose width differs by architecture.
    match rustix::fs::fstatfs(file)?.f_type {
        0x4d44 => rustix::fs::fsync(file),
        _ => Ok(()),
    }
}

fn unfinished_ending() -> Result<String, Errno> {
    let mut random = [0; 8];
    crate::crypto::fill_random(&mut random).map_err(|_| Errno::IO)?;
    Ok(format!("{UNFINISHED}{:016x}", u64::from_le_bytes(random)))
}

/// A name of ours or of restic's with what is put after it until the file is whole.
fn is_remnant(name: &[u8]) -> bool {
    let Some((name, ending)) = std::str::from_utf8(name)
        .ok()
        .and_then(|name| name.split_once(UNFINISHED))
    else {
        return false;
    };
    (name == "config" || name.parse::<Id>().is_ok())
        && ending.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a finished file does to one that has its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settling {
    /// It takes its place: both hold the same, or the other is a remnant.
    Replace,
    /// It gives way.
    OnlyNew,
}

/// Gives a finished file its name unless something has it. Where the file system cannot do that in one step, a link can; where
/// there are no links either (FAT), two at the same time are not told apart.
fn settle_new(unfinished: &Path, path: &Path) -> Result<(), Errno> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    let renamed =
        rustix::fs::renameat_with(rustix::fs::CWD, unfinished, rustix::fs::CWD, path, flags);
    match renamed {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        done => return done,
    }
    match rustix::fs::link(unfinished, path) {
        Ok(()) => rustix::fs::unlink(unfinished),
        Err(Errno::PERM | Errno::NOTSUP | Errno::MLINK) if path.symlink_metadata().is_err() => {
            rustix::fs::rename(unfinished, path)
        }
        Err(errno) => Err(errno),
    }
}

fn sync_folder(path: &Path) -> Result<(), Errno> {
    rustix::fs::fsync(open(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// Makes the root's own name durable, where the folder above it may be read: that of a mounted file system often may not.
fn sync_above_root(root: &Path) -> Result<(), Errno> {
    let above = match root.parent() {
        None => return Ok(()),
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
    };
    match sync_folder(above) {
        Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        done => done,
    }
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(failure("making the folder", path)(errno)),
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

fn failure(what: &'static str, path: &Path) -> impl Fn(Errno) -> StoreError {
    let subject = OsStr::from_bytes(path.as_os_str().as_bytes())
        .display()
        .to_string();
    move |errno| StoreError {
        what,
        subject: subject.clone(),
        reason: std::io::Error::from(errno).to_string(),
        class: class(errno),
    }
}

fn class(errno: Errno) -> Class {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Class::Missing,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Class::Denied,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Class::Full,
        Errno::AGAIN
        | Errno::BUSY
        | Errno::INTR
        | Errno::TIMEDOUT
        | Errno::STALE
        | Errno::NFILE
        | Errno::MFILE => Class::Temporary,
        _ => Class::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_folder_conforms() {
        let folder = tempfile::tempdir().unwrap();
        super::super::conformance::check(&|case| LocalStore::new(folder.path().join(case)))
            .unwrap();
    }

    #[test]
    fn a_pack_is_put_and_settled_where_its_folder_was_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path().join("new"));
        store.prepare().unwrap();
        let name = Name::File(Kind::Pack, Id::of(b"pack"));
        let above = store.path(name).parent().unwrap().to_path_buf();
        std::fs::remove_dir(&above).unwrap();
        assert_eq!(store.settle(name).unwrap_err().class, Class::Missing);
        for _ in 0..2 {
            store.put(name, b"pack").unwrap();
        }
        store.settle(name).unwrap();
        assert_eq!(store.get(name).unwrap(), b"pack");
    }

    #[test]
    fn a_store_that_may_not_be_written_says_denied() {
        // Root may write everywhere, except where nothing can be made.
        let store = LocalStore::new("/proc/self/nowhere");
        let error = store.prepare().unwrap_err();
        assert!(
            matches!(error.class, Class::Denied | Class::Missing),
            "{error}"
        );
    }
}
