//! What this process gives up at its start, so that keys and positions do not leak into files; it must run before anything is opened.
use crate::error::Error;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Forbids core dumps, which would hold the unlocked account, and makes new files the owner's alone (umask 077).
pub(crate) fn protect() -> Result<(), Error> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| Error::CoreDumps(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::getrlimit;

    #[test]
    fn core_dumps_are_forbidden_and_new_files_are_private() {
        protect().expect("protected");
        let limit = getrlimit(Resource::RLIMIT_CORE).expect("asked");
        assert_eq!(limit, (0, 0));
        let private = Mode::S_IRWXG | Mode::S_IRWXO;
        assert_eq!(umask(private), private);
    }
}
