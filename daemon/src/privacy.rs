//! What each process of ours gives up at its start, so that keys and positions do not leak into files; it must run before anything is opened.

use std::io;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

use crate::error::Error;

/// Forbids core dumps, which would hold the keys, and makes new files the owner's alone (umask 077).
///
/// # Errors
/// [`Error::Kernel`] when the limit cannot be set; lowering one needs no privilege.
pub fn protect() -> Result<(), Error> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| Error::Kernel {
        doing: "forbid core dumps",
        source: io::Error::from(errno),
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn core_dumps_are_forbidden_and_new_files_are_private() {
        protect().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        assert_eq!(
            umask(Mode::S_IRWXG | Mode::S_IRWXO),
            Mode::S_IRWXG | Mode::S_IRWXO
        );
    }
}
