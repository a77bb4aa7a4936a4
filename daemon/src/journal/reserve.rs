//! Space that is held back for the moment at which the disk is full. It must not be needed for anything else.

use std::path::PathBuf;

use super::Journal;
use crate::durable;

/// Space held back for orders that arrive when the disk is full: room for some hundred commits.
const RESERVE_BYTES: usize = 1024 * 1024;
/// Space that the siren's two small files need while they are replaced, on file systems with large blocks.
const SIREN_BYTES: u64 = 256 * 1024;

impl Journal {
    fn reserve(&self) -> PathBuf {
        self.folder.join("reserve")
    }

    /// Sets space aside, again when it was given up and there is plenty now; without success the phone works as well, only not with a full disk.
    pub fn hold_reserve(&self) {
        let path = self.reserve();
        let there = std::fs::metadata(&path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        if there || self.free_bytes() < 2 * RESERVE_BYTES as u64 {
            return;
        }
        // Random bytes: a compressing or sparse file system must not give the space away.
        let mut bytes = vec![0; RESERVE_BYTES];
        use homing_protocol::rand_core::Rng as _;
        crate::keystore::randomness().fill_bytes(&mut bytes);
        if let Err(error) = durable::replace(&path, &bytes, durable::Access::Private) {
            tracing::warn!("no space is held back for a full disk: {error}");
        }
    }

    fn free_bytes(&self) -> u64 {
        nix::sys::statvfs::statvfs(&self.folder).map_or(u64::MAX, |found| {
            // The fields are 32 or 64 bits wide, by architecture.
            let bytes = u128::from(found.blocks_available()) * u128::from(found.fragment_size());
            u64::try_from(bytes).unwrap_or(u64::MAX)
        })
    }

    /// Gives up the reserve when the disk has no room left for what the siren needs: its order and its report. The
    /// journal may still find room in pages it has, and would not give up anything.
    pub fn make_room(&self) {
        if self.free_bytes() < SIREN_BYTES && self.release_reserve() {
            tracing::warn!("the disk is full: the reserve is used");
        }
    }

    pub(super) fn release_reserve(&self) -> bool {
        let path = self.reserve();
        path.exists() && durable::remove(&path).is_ok()
    }
}
