//! A repository on a server that speaks restic's REST protocol, versions 1 and 2. One request for one answer; tries nothing twice.

mod answer;
pub mod listing;

use super::{Class, Kind, Name, Store, StoreError};
use crate::id::Id;
use crate::timestamp::Timestamp;
use answer::{Pace, answered, error, length, wrong_length};
use base64::Engine;
use std::fmt;
use std::time::Duration;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RANGE};
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

/// The listing that names sizes (rest-server's documentation, "API v2").
const LISTING_V2: &str = "application/vnd.x.restic.rest.v2";
/// No index and no listing is larger: a million names are 100 MB.
const LARGEST_ANSWER: u64 = 1 << 30;
/// No pack is larger: restic makes some of 128 MiB at most.
const LARGEST_PACK: u64 = 256 << 20;
/// No key, lock, config or snapshot is larger.
const LARGEST_NOTE: u64 = 16 << 20;
/// How long a name may be looked up, and a connection be made.
const CONNECTING: Duration = Duration::from_secs(20);

const OK: &[StatusCode] = &[StatusCode::OK];
const DONE: &[StatusCode] = &[StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT];
const PART: &[StatusCode] = &[StatusCode::OK, StatusCode::PARTIAL_CONTENT];

/// How to reach a server.
#[derive(Clone)]
pub struct RestOptions {
    /// User name and password, if the server asks for them.
    pub login: Option<(String, Zeroizing<String>)>,
    /// Certificates (PEM) that alone may vouch for the server; without them those of the web do.
    pub authorities: Option<Vec<u8>>,
    /// A server that neither sends nor takes a byte for so long is given up.
    pub silence: Duration,
    /// One that sends or takes fewer bytes in a second, on the whole, is given up too: a pack must be through before a lock
    /// is held for abandoned.
    pub slowest_bytes_per_second: u64,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            login: None,
            authorities: None,
            silence: Duration::from_secs(60),
            slowest_bytes_per_second: 16 << 10,
        }
    }
}

impl fmt::Debug for RestOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RestOptions(login redacted, {:?})", self.silence)
    }
}

/// A repository on a server.
#[derive(Clone)]
pub struct RestStore {
    agent: Agent,
    /// Address of the repository, ending in a slash.
    base: String,
    login: Option<Zeroizing<String>>,
    pace: Pace,
}

impl fmt::Debug for RestStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RestStore({})", self.base)
    }
}

impl RestStore {
    /// A store at an `http://` or `https://` address without a login in it.
    ///
    /// # Errors
    /// The address or the certificates cannot be used ([`Class::Permanent`]).
    pub fn new(address: &str, options: &RestOptions) -> Result<Self, StoreError> {
        let refused = |reason: &str| error("using the address", address, reason, Class::Permanent);
        let rest = address
            .strip_prefix("https://")
            .or_else(|| address.strip_prefix("http://"))
            .ok_or_else(|| refused("it begins with neither https:// nor http://"))?;
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || host.contains('@') || rest.contains(['?', '#', ' ']) {
            return Err(refused("it is not HOST[:PORT]/PATH"));
        }
        let roots = match &options.authorities {
            None => RootCerts::WebPki,
            Some(pem) => {
                let certificates: Vec<_> = ureq::tls::parse_pem(pem)
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                if certificates.is_empty() {
                    return Err(refused("the file of its authority holds no certificate"));
                }
                RootCerts::from(certificates.into_iter())
            }
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            // A login must not follow a redirect to somebody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent("homing")
            .timeout_resolve(Some(CONNECTING.min(options.silence)))
            .timeout_connect(Some(CONNECTING.min(options.silence)))
            .timeout_send_request(Some(options.silence))
            .timeout_recv_response(Some(options.silence))
            .timeout_per_read(Some(options.silence))
            .timeout_per_write(Some(options.silence))
            .build();
        let login = options.login.as_ref().map(|(user, password)| {
            let plain = Zeroizing::new(format!("{user}:{}", &**password));
            let encoded = base64::engine::general_purpose::STANDARD.encode(plain.as_bytes());
            Zeroizing::new(format!("Basic {encoded}"))
        });
        Ok(Self {
            agent: Agent::new_with_config(config),
            base: format!("{}/", address.trim_end_matches('/')),
            login,
            pace: Pace {
                silence: options.silence,
                slowest: options.slowest_bytes_per_second,
            },
        })
    }

    fn address(&self, name: Name) -> String {
        match name {
            Name::Config => format!("{}config", self.base),
            Name::File(kind, id) => format!("{}{}/{id}", self.base, kind.folder()),
        }
    }

    /// Adds what every request carries.
    fn with_login<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.login {
            Some(login) => request.header(AUTHORIZATION, login.as_str()),
            None => request,
        }
    }

    fn head(&self, name: Name) -> Result<Response<Body>, StoreError> {
        let address = self.address(name);
        let answer = self.with_login(self.agent.head(&address)).call();
        answered("asking for", &address, OK, answer)
    }

    fn post(&self, address: &str, bytes: &[u8]) -> Result<Response<Body>, StoreError> {
        let answer = self
            .with_login(self.agent.post(address))
            .header(CONTENT_TYPE, "application/octet-stream")
            .config()
            .timeout_send_body(Some(self.pace.time_for(bytes.len() as u64)))
            .build()
            .send(bytes);
        answered("writing", address, DONE, answer)
    }

    /// Reads a body that is no larger than such a file may be.
    fn body(
        &self,
        address: &str,
        answer: Response<Body>,
        limit: u64,
        into: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        answer::whole(("reading", address), answer, limit, self.pace, into)
    }

    /// The part of a file from a server that gives none: the whole is read.
    fn cut_from_whole(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        *buffer = self.get(name)?;
        cut(buffer, offset, length);
        Ok(())
    }
}

fn cut(buffer: &mut Vec<u8>, offset: u64, length: usize) {
    let from = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(buffer.len());
    buffer.drain(..from);
    buffer.truncate(length);
}

const fn limit_of(name: Name) -> u64 {
    match name {
        Name::File(Kind::Pack, _) => LARGEST_PACK,
        Name::File(Kind::Index, _) => LARGEST_ANSWER,
        Name::Config | Name::File(Kind::Key | Kind::Snapshot | Kind::Lock, _) => LARGEST_NOTE,
    }
}

impl Store for RestStore {
    fn prepare(&self) -> Result<(), StoreError> {
        self.post(&format!("{}?create=true", self.base), b"")
            .map(drop)
    }

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        let address = format!("{}{}/", self.base, kind.folder());
        let request = self
            .with_login(self.agent.get(&address))
            .header(ACCEPT, LISTING_V2);
        let answer = match answered("listing", &address, OK, request.call()) {
            // A server that makes folders when it needs them has none yet.
            Err(error) if error.class == Class::Missing => return Ok(()),
            other => other?,
        };
        let sized = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|of| of.as_bytes().starts_with(LISTING_V2.as_bytes()));
        let mut json = Vec::new();
        self.body(&address, answer, LARGEST_ANSWER, &mut json)?;
        let broken = || {
            let reason = "the server's list is not what the protocol says";
            error("listing", &address, reason, Class::Permanent)
        };
        if sized {
            return listing::sized(&json, each).map_err(|_| broken());
        }
        for id in listing::plain(&json).map_err(|_| broken())? {
            match self.size(Name::File(kind, id)) {
                Ok(size) => each(id, size),
                // Gone since it was listed.
                Err(error) if error.class == Class::Missing => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn size(&self, name: Name) -> Result<u64, StoreError> {
        length(&self.head(name)?).ok_or_else(|| {
            let reason = "the server does not tell its size";
            error("asking for", &self.address(name), reason, Class::Permanent)
        })
    }

    fn written(&self, name: Name) -> Result<Option<Timestamp>, StoreError> {
        self.head(name).map(|answer| answer::modified(&answer))
    }

    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
        let address = self.address(name);
        let request = self.with_login(self.agent.get(&address));
        let answer = answered("reading", &address, OK, request.call())?;
        let mut bytes = Vec::new();
        self.body(&address, answer, limit_of(name), &mut bytes)?;
        Ok(bytes)
    }

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        wanted: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        buffer.clear();
        if wanted == 0 {
            return self.head(name).map(drop);
        }
        let address = self.address(name);
        let last = offset.saturating_add(wanted as u64 - 1);
        let request = self
            .with_login(self.agent.get(&address))
            .header(RANGE, format!("bytes={offset}-{last}"));
        let answer = match request.call() {
            // Nothing is there, or the server gives no parts.
            Ok(answer) if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                return match self.size(name)? {
                    size if size <= offset => Ok(()),
                    _ => self.cut_from_whole(name, offset, wanted, buffer),
                };
            }
            other => answered("reading", &address, PART, other)?,
        };
        if answer.status() == StatusCode::OK {
            // A server that knows no parts sends everything.
            self.body(&address, answer, limit_of(name), buffer)?;
            cut(buffer, offset, wanted);
            return Ok(());
        }
        let wrong = || wrong_length("reading", &address);
        let part = answer::part(&answer).ok_or_else(wrong)?;
        if length(&answer).is_some_and(|bytes| bytes != part.last - part.first + 1) {
            return Err(wrong());
        }
        self.body(&address, answer, wanted as u64, buffer)?;
        let end = offset + buffer.len() as u64;
        let is_end = buffer.len() == wanted
            || match part.total {
                Some(total) => total == end,
                None => self.size(name)? == end,
            };
        if part.first == offset && part.last + 1 == end && is_end {
            Ok(())
        } else {
            Err(wrong())
        }
    }

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        let address = self.address(name);
        match self.post(&address, bytes) {
            // Refused for good, or because it is there already: an earlier attempt whose answer was lost.
            Err(refused) if refused.class == Class::Denied => match self.size(name) {
                Ok(size) if size == bytes.len() as u64 || name == Name::Config => Ok(()),
                Ok(_) => {
                    self.remove(name)?;
                    self.post(&address, bytes).map(drop)
                }
                Err(_) => Err(refused),
            },
            other => other.map(drop),
        }
    }

    fn remove(&self, name: Name) -> Result<(), StoreError> {
        let address = self.address(name);
        let request = self.with_login(self.agent.delete(&address));
        answered("removing", &address, DONE, request.call()).map(drop)
    }

    fn beside(&self) -> Option<Box<dyn Store + Send>> {
        Some(Box::new(self.clone()))
    }

    fn ahead(&self) -> Option<Box<dyn Store + Send>> {
        self.beside()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_are_refused_before_anything_is_sent() {
        for address in [
            "ftp://host/",
            "https://",
            "https://user:secret@host/",
            "http://host/?x",
            "host",
        ] {
            let refused = RestStore::new(address, &RestOptions::default()).unwrap_err();
            assert_eq!(refused.class, Class::Permanent, "{address}");
        }
        let options = RestOptions {
            authorities: Some(b"no certificate".to_vec()),
            ..RestOptions::default()
        };
        assert!(RestStore::new("https://host/", &options).is_err());
    }

    #[test]
    fn nothing_of_a_login_is_printed() {
        let options = RestOptions {
            login: Some(("anna".into(), Zeroizing::new("hunter2".into()))),
            ..RestOptions::default()
        };
        let store = RestStore::new("http://host/repository", &options).unwrap();
        let printed = format!("{options:?} {store:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("anna"));
    }
}
