//! What the archive needs of the system: who we are, who is at work, file metadata. Decides nothing.

pub mod identity;
pub(crate) mod source;
pub(crate) mod target;
