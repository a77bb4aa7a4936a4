//! A repository's place as people write it: a folder, or `rest:` and an address. Holds no password.

use super::{Class, Kind, LocalStore, Name, RestOptions, RestStore, Store, StoreError};
use crate::id::Id;
use crate::timestamp::Timestamp;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where a repository lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A server that speaks restic's REST protocol.
    Server {
        /// `http://` or `https://`, no login in it.
        address: String,
        /// The user's name, if the address held one.
        user: Option<String>,
    },
}

impl Place {
    /// Reads a place as restic writes it.
    ///
    /// # Errors
    /// Another kind of place, or a password in the address, where every user of the machine could read it.
    pub fn parse(text: &OsStr) -> Result<Self, StoreError> {
        let refused = |reason: &str| StoreError {
            what: "understanding the repository's place",
            // The text may hold a password.
            subject: String::new(),
            reason: reason.into(),
            class: Class::Permanent,
        };
        let bytes = text.as_bytes();
        let Some(address) = bytes.strip_prefix(b"rest:") else {
            if bytes.is_empty() {
                return Err(refused("it is empty"));
            }
            for scheme in ["sftp:", "s3:", "b2:", "azure:", "gs:", "swift:", "rclone:"] {
                if bytes.starts_with(scheme.as_bytes()) {
                    return Err(refused(
                        "only a folder or rest:URL is known (for a folder of that name, put ./ before it)",
                    ));
                }
            }
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        let address = std::str::from_utf8(address).map_err(|_| refused("it is not UTF-8"))?;
        let (scheme, rest) = address
            .split_once("://")
            .ok_or_else(|| refused("after rest: an http:// or https:// address is wanted"))?;
        let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
        let Some((user, _)) = host.rsplit_once('@') else {
            return Ok(Self::Server {
                address: address.into(),
                user: None,
            });
        };
        if user.contains(':') {
            return Err(refused(
                "a password in an address can be read by others; give only the name, and the password in a file",
            ));
        }
        Ok(Self::Server {
            address: format!("{scheme}://{}", &rest[user.len() + 1..]),
            user: Some(user.into()),
        })
    }
}

/// The store at a place.
#[derive(Clone, Debug)]
pub enum PlaceStore {
    /// A folder.
    Folder(LocalStore),
    /// A server.
    Server(RestStore),
}

impl PlaceStore {
    /// The store at that place; nothing is opened yet.
    ///
    /// # Errors
    /// The address or the certificates cannot be used.
    pub fn new(place: &Place, options: &RestOptions) -> Result<Self, StoreError> {
        match place {
            Place::Folder(path) => Ok(Self::Folder(LocalStore::new(path))),
            Place::Server { address, .. } => RestStore::new(address, options).map(Self::Server),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(formatter, "{}", path.display()),
            Self::Server { address, .. } => write!(formatter, "rest:{address}"),
        }
    }
}

/// Hands an operation to whichever store it is.
macro_rules! either {
    ($self:ident, $store:ident => $operation:expr) => {
        match $self {
            PlaceStore::Folder($store) => $operation,
            PlaceStore::Server($store) => $operation,
        }
    };
}

impl Store for PlaceStore {
    fn prepare(&self) -> Result<(), StoreError> {
        either!(self, store => store.prepare())
    }

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        either!(self, store => store.list(kind, each))
    }

    fn size(&self, name: Name) -> Result<u64, StoreError> {
        either!(self, store => store.size(name))
    }

    fn written(&self, name: Name) -> Result<Option<Timestamp>, StoreError> {
        either!(self, store => store.written(name))
    }

    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
        either!(self, store => store.get(name))
    }

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        either!(self, store => store.get_range(name, offset, length, buffer))
    }

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        either!(self, store => store.put(name, bytes))
    }

    fn settle(&self, name: Name) -> Result<(), StoreError> {
        either!(self, store => store.settle(name))
    }

    fn tidy(&self) -> Result<(), StoreError> {
        either!(self, store => store.tidy())
    }

    fn remove(&self, name: Name) -> Result<(), StoreError> {
        either!(self, store => store.remove(name))
    }

    fn beside(&self) -> Option<Box<dyn Store + Send>> {
        either!(self, store => store.beside())
    }

    fn ahead(&self) -> Option<Box<dyn Store + Send>> {
        either!(self, store => store.ahead())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_restic_writes_them() {
        let parse = |text: &str| Place::parse(OsStr::new(text));
        assert_eq!(
            parse("/srv/backup").unwrap(),
            Place::Folder("/srv/backup".into())
        );
        let server = |address: &str, user: Option<&str>| Place::Server {
            address: address.into(),
            user: user.map(Into::into),
        };
        assert_eq!(
            parse("rest:https://host:8000/anna/").unwrap(),
            server("https://host:8000/anna/", None)
        );
        assert_eq!(
            parse("rest:http://anna@host/x@y").unwrap(),
            server("http://host/x@y", Some("anna"))
        );
        for refused in ["", "rest:host", "sftp:host:/x", "s3:s3.example/x"] {
            assert!(parse(refused).is_err(), "{refused}");
        }
        let refused = parse("rest:https://anna:hunter2@host/").unwrap_err();
        assert!(!refused.to_string().contains("hunter2"));
    }
}
