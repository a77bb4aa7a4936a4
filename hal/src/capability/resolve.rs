//! Who turns what is around the phone into a place: a service that its owner has chosen. Nobody is asked unless one was.

use std::time::Instant;

use crate::fault::Fault;

/// A service that answers a question about a place.
pub trait Resolve: Send + Sync {
    /// Its name for `homingd doctor`, such as its host.
    fn name(&self) -> String;

    /// Sends the question (JSON) and returns the answer (JSON), until the given instant.
    ///
    /// # Errors
    /// [`Fault::Absent`] when it cannot be reached, [`Fault::Denied`] when it refuses to answer, [`Fault::Broken`] for
    /// anything that is no answer, [`Fault::TimedOut`].
    fn resolve(&self, question: &[u8], until: Instant) -> Result<Vec<u8>, Fault>;
}
