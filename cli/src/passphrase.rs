//! Secrets that a person knows: asked for without echo or read from a file descriptor, never from arguments or the environment.
use crate::error::Error;
use std::fs::File;
use std::io::{self, Read};
use zeroize::{Zeroize, Zeroizing};

/// Shortest new passphrase, in characters. Argon2id carries the rest; NIST SP 800-63B-4 asks for at least 8 beside a second factor.
const SHORTEST: usize = 8;

/// Longest line accepted from a file descriptor, bytes.
const LONGEST: usize = 4_096;

/// Where a secret comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The terminal, without echo.
    Prompt,
    /// The first line of this open file descriptor.
    Descriptor(u32),
}

impl From<Option<u32>> for Source {
    fn from(descriptor: Option<u32>) -> Self {
        descriptor.map_or(Self::Prompt, Self::Descriptor)
    }
}

/// The existing passphrase, or another secret that `prompt` names.
pub(crate) fn ask(source: Source, prompt: &str) -> Result<Zeroizing<String>, Error> {
    match source {
        Source::Prompt => rpassword::prompt_password(format!("{prompt}: "))
            .map(Zeroizing::new)
            .map_err(Error::Passphrase),
        Source::Descriptor(number) => first_line(number).map_err(Error::Passphrase),
    }
}

/// A new passphrase: asked twice on a terminal, refused when too short.
pub(crate) fn choose(source: Source) -> Result<Zeroizing<String>, Error> {
    let chosen = ask(source, "New passphrase")?;
    if chosen.chars().count() < SHORTEST {
        return Err(Error::WeakPassphrase(
            "the passphrase needs at least 8 characters; four random words are good",
        ));
    }
    if source == Source::Prompt && *ask(source, "Again")? != *chosen {
        return Err(Error::WeakPassphrase(
            "the two passphrases differ; nothing was changed",
        ));
    }
    Ok(chosen)
}

/// Opens the descriptor through /dev/fd, which leaves the caller's own descriptor alone and needs no unsafe code.
fn first_line(number: u32) -> io::Result<Zeroizing<String>> {
    let mut file = File::open(format!("/dev/fd/{number}"))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = [0];
    // One at a time: what follows the line is for somebody else, and the writer need not close its end.
    while bytes.len() <= LONGEST && file.read(&mut byte)? == 1 && byte[0] != b'\n' {
        bytes.push(byte[0]);
    }
    byte.zeroize();
    let line = bytes.as_slice();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || bytes.len() > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the descriptor gave an empty or endless first line",
        ));
    }
    let text =
        std::str::from_utf8(line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use std::os::fd::AsRawFd;

    fn from_file(content: &[u8]) -> io::Result<String> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(content).expect("write");
        file.rewind().expect("rewind");
        let number = u32::try_from(file.as_raw_fd()).expect("descriptor");
        first_line(number).map(|line| line.to_string())
    }

    #[test]
    fn the_first_line_of_the_descriptor_is_the_secret() {
        for content in [
            &b"correct horse"[..],
            b"correct horse\n",
            b"correct horse\r\nnext\n",
        ] {
            assert_eq!(from_file(content).expect("line"), "correct horse");
        }
    }

    #[test]
    fn nothing_and_endless_input_are_refused() {
        assert!(from_file(b"").is_err());
        assert!(from_file(b"\nlater").is_err());
        assert!(from_file(&[b'a'; 5_000]).is_err());
        assert!(from_file(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        assert!(first_line(987_654).is_err());
    }
}
