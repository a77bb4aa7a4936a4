//! Regular files: taken from the parent, read, or, where they are databases, copied in one piece. Stores through the writer only.

use super::content::{Content, Failure};
use super::database;
use super::options::Trouble;
use super::state;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::os::source;
use crate::pack::BlobKind;
use crate::store::Store;
use crate::tree::{Node, NodeKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

impl<S: Store> Walk<'_, S> {
    /// A regular file's entry; `None` when it cannot be read, which is noted. `logged` says that another file may hold changes
    /// of it, so that its own times say nothing.
    pub(super) fn file(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        before: Option<Node>,
        logged: bool,
    ) -> Result<Option<Node>> {
        let before = before.filter(|node| node.kind == NodeKind::File);
        self.summary.total_files_processed += 1;
        if let Some(old) = &before
            && !logged
            && unchanged(old, stat)
            && source::ctime(stat) < self.recent
            && self.is_stored(old)
        {
            let mut node = source::node(name, stat, &self.names);
            node.content.clone_from(&old.content);
            // Attributes cannot change without the time of change.
            node.xattrs.clone_from(&old.xattrs);
            node.unknown.clone_from(&old.unknown);
            self.summary.files_unmodified += 1;
            self.summary.total_bytes_processed += node.size;
            self.progress.bytes += node.size;
            return Ok(Some(node));
        }
        let node = self.read_file(folder, name)?;
        match (&node, &before) {
            (Some(new), Some(old)) if new.content == old.content && unchanged(old, stat) => {
                self.summary.files_unmodified += 1;
            }
            (Some(_), Some(_)) => self.summary.files_changed += 1,
            (Some(_), None) => self.summary.files_new += 1,
            (None, _) => {}
        }
        Ok(node)
    }

    fn is_stored(&self, node: &Node) -> bool {
        let index = &self.writer.index;
        let content = node.content.iter().flatten();
        content
            .into_iter()
            .all(|id| index.contains(BlobKind::Data, id))
    }

    fn read_file(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<Option<Node>> {
        let opened = source::open_file(folder, name).and_then(|file| {
            let stat = rustix::fs::fstat(&file)?;
            Ok((File::from(file), stat))
        });
        let (file, mut stat) = match opened {
            // Replaced by something else since it was listed.
            Ok((_, stat)) if source::kind(&stat) != NodeKind::File => {
                return Ok(self.lost(Errno::AGAIN));
            }
            Ok(opened) => opened,
            Err(errno) => return Ok(self.lost(errno)),
        };
        let content = match database::is_database(&file) {
            true => self.database(folder, name, &file, &mut stat)?,
            false => self.steady(&file, &mut stat)?,
        };
        let Some(content) = content else {
            return Ok(None);
        };
        let mut node = source::node(name, &stat, &self.names);
        match self.attributes.of_open(file.as_fd()) {
            Ok(pairs) => node.xattrs = pairs,
            Err(errno) => self.problem(Trouble::Unreadable, errno),
        }
        node.size = content.bytes;
        self.summary.total_bytes_processed += content.bytes;
        node.content = Some(content.blobs);
        Ok(Some(node))
    }

    /// A file's content as it is at one time, as far as that can be had.
    fn steady(&mut self, file: &File, stat: &mut Stat) -> Result<Option<Content>> {
        let content = self.content(file, stat)?;
        if content.is_none() || !self.changed(file, stat) {
            return Ok(content);
        }
        let content = self.content(file, stat)?;
        if content.is_some() && self.changed(file, &mut stat.clone()) {
            self.problem(Trouble::Changing, Errno::BUSY);
        }
        Ok(content)
    }

    /// A database's content in one consistent state. One at rest is read as it lies; else SQLite copies it.
    fn database(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        file: &File,
        stat: &mut Stat,
    ) -> Result<Option<Content>> {
        // Changes within one step of the clock would not show in its times.
        let recent = source::ctime(stat) >= state::recent(self.summary.backup_start);
        if !recent && !database::has_log(folder, name) {
            let content = self.content(file, stat)?;
            if content.is_none() || !(self.changed(file, stat) || database::has_log(folder, name)) {
                self.leave_companions(name);
                return Ok(content);
            }
        }
        let (observer, progress) = (&mut *self.observer, &self.progress);
        let stop = &mut || observer.progress(progress);
        match database::copy(&self.path, stat, self.options.state.as_deref(), stop) {
            Ok(copy) => {
                let copied = rustix::fs::fstat(&copy)
                    .map_err(Error::file("looking at a copy of", &self.path))?;
                self.leave_companions(name);
                self.content(&copy, &copied)
            }
            Err(database::Failed::Stopped) => Err(Error::Stopped),
            Err(database::Failed::NotADatabase) => self.steady(file, stat),
            Err(database::Failed::Refused(why)) => {
                self.doubtful(Trouble::Inconsistent, why);
                self.content(file, stat)
            }
        }
    }

    /// What SQLite keeps beside a database does not fit a copy of it that is whole in itself.
    fn leave_companions(&mut self, name: &[u8]) {
        for companion in database::companions(name) {
            self.aside
                .insert(self.path.with_file_name(OsStr::from_bytes(&companion)));
        }
    }

    /// A file's content, or `None` when it cannot be read, which is noted.
    fn content(&mut self, file: &File, stat: &Stat) -> Result<Option<Content>> {
        let (observer, progress) = (&mut *self.observer, &mut self.progress);
        let mut stop = |bytes| {
            progress.bytes += bytes;
            observer.progress(progress)
        };
        match self.cutter.store(file, stat, &mut self.writer, &mut stop) {
            Ok(content) => Ok(Some(content)),
            Err(Failure::Repository(error)) => Err(error),
            Err(Failure::Source(error)) => {
                let errno = error
                    .raw_os_error()
                    .map_or(Errno::IO, Errno::from_raw_os_error);
                Ok(self.lost(errno))
            }
        }
    }

    /// Has the file changed since `stat`, which is brought up to date?
    fn changed(&self, file: &File, stat: &mut Stat) -> bool {
        let Ok(now) = rustix::fs::fstat(file) else {
            return true;
        };
        let same = now.st_size == stat.st_size
            && source::mtime(&now) == source::mtime(stat)
            && source::ctime(&now) == source::ctime(stat);
        *stat = now;
        !same
    }
}

/// Nothing that a change leaves behind differs.
fn unchanged(old: &Node, stat: &Stat) -> bool {
    old.mtime == source::mtime(stat).writable()
        && old.ctime == source::ctime(stat).writable()
        && old.size == source::number(stat.st_size)
        && old.inode == source::number(stat.st_ino)
        && old.content.is_some()
}
