//! How agent and siren read each other's files: whoever writes into the folder may put anything there. It must not wait, follow a link, or read without end.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// Longest file that is read, bytes: an intent and a report are some 200.
const LONGEST_FILE: u64 = 4096;

/// The content of a regular file of at most 4 KiB.
///
/// # Errors
/// As the system's; a link, a pipe, a folder, a device, and a longer file are errors too.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_long(path, LONGEST_FILE)
}

/// As [`read`], of at most so many bytes.
///
/// # Errors
/// As [`read`].
pub(super) fn read_long(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    // A pipe without a writer would hold `open` for ever; a link would lead anywhere.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK | O_NOFOLLOW)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no regular file",
        ));
    }
    let mut content = Vec::new();
    file.take(longest + 1).read_to_end(&mut content)?;
    if content.len() as u64 > longest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is longer than {longest} bytes"),
        ));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_short_regular_file_is_read_and_nothing_else_holds_the_reader_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("short"), [b'x'; 4096]).unwrap();
        fs::write(path("long"), [b'x'; 4097]).unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink(path("short"), path("link")).unwrap();
        symlink("/dev/zero", path("endless")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&path("short")).unwrap().len(), 4096);
        for name in ["long", "folder", "link", "endless", "pipe"] {
            assert!(read(&path(name)).is_err(), "{name}");
        }
        let none = read(&path("none")).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
