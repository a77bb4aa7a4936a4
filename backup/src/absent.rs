//! Fields that other programs leave out or write as `null`: nothing, as Go reads them. It must not hide a value of a wrong kind.

use serde::{Deserialize, Deserializer};

/// Reads a field; `null` is what a field has that is left out.
///
/// # Errors
/// A value of another kind.
pub(crate) fn or_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
