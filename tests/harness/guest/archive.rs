//! An initial RAM disk in the kernel's `newc` format of cpio (Documentation/driver-api/early-userspace/buffer-format.rst). It must not read a file system by itself.

/// The bits of a mode that say what an entry is (inode(7)).
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: std::collections::BTreeSet<String>,
}

impl Archive {
    /// Adds a folder and those above it; a path has no slash at either end.
    pub(crate) fn folder(&mut self, path: &str) {
        if !path.is_empty() && self.folders.insert(path.to_owned()) {
            self.above(path);
            self.entry(path, FOLDER | 0o755, &[]);
        }
    }

    /// Adds a file with its permission bits.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.above(path);
        self.entry(path, FILE | mode, content);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.above(path);
        self.entry(path, LINK | 0o777, to.as_bytes());
    }

    /// The finished archive.
    #[must_use]
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn above(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("a file of a guest is below 4 GiB");
        // magic, inode, mode, uid, gid, links, mtime, size, 4 device numbers, length of the name with its end, check.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length(content.len()),
            0,
            0,
            0,
            0,
            length(path.len()) + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lies_on_a_multiple_of_four_and_folders_come_first_and_once() {
        let mut archive = Archive::default();
        archive.file("a/b/c", 0o644, b"12345");
        archive.file("a/b/d", 0o755, b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names: Vec<usize> = ["\0a\0", "a/b\0", "a/b/c\0", "a/b/d\0", "TRAILER!!!\0"]
            .iter()
            .map(|name| text.find(name.trim_start_matches('\0')).unwrap())
            .collect();
        assert!(names.is_sorted());
        assert_eq!(text.matches("070701").count(), 5);
    }
}
