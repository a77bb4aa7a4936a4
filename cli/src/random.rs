//! The one source of randomness: the operating system's.
use crate::error::Error;

/// Fills `out` with random octets.
pub(crate) fn fill(out: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(out).map_err(|_| Error::Randomness)
}

/// `N` random octets.
pub(crate) fn octets<const N: usize>() -> Result<[u8; N], Error> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}
