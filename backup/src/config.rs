//! A repository's config: version, id and the polynomial that cuts its files. Holds what is stored, decides nothing.

use crate::error::{Error, Result};
use crate::id::Id;
use crate::polynomial::Polynomial;
use serde::{Deserialize, Serialize};

/// The version this program writes.
pub const VERSION: u32 = 2;

/// What `config` holds, sealed and never compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// 1 (read only) or 2.
    pub version: u32,
    /// The repository's random name.
    pub id: Id,
    /// Cuts content into chunks.
    pub chunker_polynomial: Polynomial,
}

impl Config {
    /// The config of a new repository.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn random() -> Result<Self> {
        let mut id = [0; 32];
        crate::crypto::fill_random(&mut id)?;
        Ok(Self {
            version: VERSION,
            id: Id::from_bytes(id),
            chunker_polynomial: Polynomial::random()?,
        })
    }

    /// Reads the opened bytes of a config.
    ///
    /// # Errors
    /// Not the JSON of a config, or of a version that is not known.
    pub fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let failed = |source| Error::Json {
            what: "the config",
            source,
        };
        // The version first: a later one may have other fields.
        let Version { version } = serde_json::from_slice(json).map_err(failed)?;
        if !(1..=VERSION).contains(&version) {
            return Err(Error::UnknownVersion(version));
        }
        serde_json::from_slice(json).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_reads_back_and_a_newer_one_is_refused_by_name() {
        let config = Config::random().unwrap();
        let json = serde_json::to_vec(&config).unwrap();
        assert_eq!(Config::parse(&json).unwrap(), config);
        assert!(matches!(
            Config::parse(br#"{"version":3,"shape":"other"}"#),
            Err(Error::UnknownVersion(3))
        ));
        assert!(matches!(Config::parse(b"{}"), Err(Error::Json { .. })));
    }
}
