//! The archive's commands: a repository opened, one thing done with it, the result printed. Touches no account and no phone.

pub(crate) mod args;
mod backup;
mod changes;
mod export;
mod interrupt;
mod meter;
mod open;
mod restore;
mod retain;
mod show;
mod verify;

use crate::error::Error;
use crate::exit;
use crate::output::Output;
use crate::passphrase::Source;
use args::Archive;
use homing_backup::store::Class;
use interrupt::Interrupt;

/// What every command of the archive is given.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where results go.
    pub(crate) out: Output,
    /// Where a repository's password comes from when no file is given.
    pub(crate) password: Source,
    /// Whether somebody pressed Ctrl-C.
    pub(crate) interrupt: Interrupt,
}

/// Carries out a command of the archive.
pub(crate) fn run(command: Archive, out: Output, password: Source) -> Result<(), Error> {
    let context = Context {
        out,
        password,
        interrupt: Interrupt::default(),
    };
    let done = match command {
        Archive::InitRepository(args) => open::init(&context, &args),
        Archive::Backup(args) => backup::run(&context, &args),
        Archive::Snapshots(args) => show::snapshots(&context, &args),
        Archive::Ls(args) => show::ls(&context, &args),
        Archive::Restore(args) => restore::run(&context, &args),
        Archive::Verify(args) => verify::run(&context, &args),
        Archive::Forget(args) => retain::forget(&context, &args),
        Archive::Prune(args) => retain::prune(&context, &args),
        Archive::RebuildIndex(args) => retain::rebuild_index(&context, &args),
        Archive::Unlock(args) => retain::unlock(&context, &args),
        Archive::ExportRepository(args) => export::run(&context, &args),
    };
    done.map_err(|error| match error {
        // Whoever stops the waiting for a server has not been failed by it.
        Error::Archive(homing_backup::Error::Store(store))
            if store.class == Class::Temporary && context.interrupt.is_asked() =>
        {
            homing_backup::Error::Stopped.into()
        }
        other => other,
    })
}

/// The exit code for what the archive reports (homing(1)).
pub(crate) fn exit_code(error: &homing_backup::Error) -> u8 {
    use homing_backup::Error as E;
    match error {
        E::Store(store) => match store.class {
            Class::Denied => exit::PERMISSION,
            _ => exit::IO,
        },
        E::WrongPassword { .. } | E::Forged => exit::PERMISSION,
        E::NotARepository
        | E::AlreadyARepository
        | E::UnknownVersion(_)
        | E::ClockDoubtful { .. }
        | E::OldVersion
        | E::KeyTooCostly { .. }
        | E::Damaged { .. }
        | E::DamagedBlob { .. }
        | E::NoSuchBlob(_)
        | E::Json { .. }
        | E::Malformed(_) => exit::CONFIG,
        E::NotAnId(_) | E::NoSuchSnapshot(_) | E::NoSuchPath(_) => exit::USAGE,
        // Another attempt, later, will do.
        E::Locked { .. }
        | E::UnreadableLock { .. }
        | E::LockLost
        | E::Busy(_)
        | E::TargetBusy(_)
        | E::Stopped => exit::NO_ANSWER_YET,
        E::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            exit::PERMISSION
        }
        E::File { .. } | E::NoRandomness | E::Compression { .. } => exit::IO,
        E::SealedWrongly => exit::BUG,
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut whole = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while whole >= 1024 && unit + 1 < units.len() {
        tenths = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{whole} B"),
        _ => format!("{whole}.{tenths} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_with_one_digit_after_the_point() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
