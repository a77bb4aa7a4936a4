//! A repository on a server that speaks restic's REST protocol, versions 1 and 2. One request for one answer; tries nothing twice.

use super::{Class, Kind, Name, Store, StoreError};
use crate::id::Id;
use base64::Engine;
use std::fmt;
use std::io::Read;
use std::time::Duration;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

/// The listing that names sizes (rest-server's documentation, "API v2").
const LISTING_V2: &str = "application/vnd.x.restic.rest.v2";
/// Nothing but a pack or an index comes near this size; a listing of a million names is 100 MB.
const LARGEST_ANSWER: u64 = 1 << 30;
/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(20);

/// How to reach a server.
#[derive(Clone)]
pub struct RestOptions {
    /// User name and password, if the server asks for them.
    pub login: Option<(String, Zeroizing<String>)>,
    /// Certificates (PEM) that alone may vouch for the server; without them those of the web do.
    pub authorities: Option<Vec<u8>>,
    /// A server that neither sends nor takes a byte for so long is given up.
    pub silence: Duration,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            login: None,
            authorities: None,
            silence: Duration::from_secs(60),
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
            .timeout_connect(Some(CONNECTING.min(options.silence)))
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

    fn head(&self, name: Name) -> Result<u64, StoreError> {
        let address = self.address(name);
        let answer = answered(
            "asking for",
            &address,
            self.with_login(self.agent.head(&address)).call(),
        )?;
        length(&answer).ok_or_else(|| {
            error(
                "asking for",
                &address,
                "the server does not tell its size",
                Class::Permanent,
            )
        })
    }

    fn post(&self, address: &str, bytes: &[u8]) -> Result<Response<Body>, ureq::Error> {
        self.with_login(self.agent.post(address))
            .header(CONTENT_TYPE, "application/octet-stream")
            .send(bytes)
    }
}

impl Store for RestStore {
    fn prepare(&self) -> Result<(), StoreError> {
        let address = format!("{}?create=true", self.base);
        answered("making", &self.base, self.post(&address, b"")).map(drop)
    }

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        let address = format!("{}{}/", self.base, kind.folder());
        let request = self
            .with_login(self.agent.get(&address))
            .header(ACCEPT, LISTING_V2);
        let answer = match answered("listing", &address, request.call()) {
            // A server that makes folders when it needs them has none yet.
            Err(error) if error.class == Class::Missing => return Ok(()),
            other => other?,
        };
        let sized = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|of| of.as_bytes().starts_with(LISTING_V2.as_bytes()));
        let mut json = Vec::new();
        whole("listing", &address, answer, &mut json)?;
        let broken = || {
            error(
                "listing",
                &address,
                "the server's list is not what the protocol says",
                Class::Permanent,
            )
        };
        if sized {
            return listing::sized(&json, each).map_err(|_| broken());
        }
        for id in listing::plain(&json).map_err(|_| broken())? {
            match self.head(Name::File(kind, id)) {
                Ok(size) => each(id, size),
                // Gone since it was listed.
                Err(error) if error.class == Class::Missing => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn size(&self, name: Name) -> Result<u64, StoreError> {
        self.head(name)
    }

    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
        let address = self.address(name);
        let request = self.with_login(self.agent.get(&address));
        let answer = answered("reading", &address, request.call())?;
        let mut bytes = Vec::new();
        whole("reading", &address, answer, &mut bytes)?;
        Ok(bytes)
    }

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        buffer.clear();
        if length == 0 {
            return self.head(name).map(drop);
        }
        let address = self.address(name);
        let last = offset.saturating_add(length as u64 - 1);
        let request = self
            .with_login(self.agent.get(&address))
            .header(RANGE, format!("bytes={offset}-{last}"));
        let answer = match request.call() {
            Ok(answer) if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
            other => answered("reading", &address, other)?,
        };
        let total = total_of(&answer);
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        whole("reading", &address, answer, buffer)?;
        if partial {
            let expected = total.map_or(length as u64, |total| {
                total.saturating_sub(offset).min(length as u64)
            });
            if total.is_some() && buffer.len() as u64 != expected || buffer.len() > length {
                return Err(wrong_length("reading", &address));
            }
        } else {
            // A server that knows no ranges sends everything.
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            buffer.drain(..from);
            buffer.truncate(length);
        }
        Ok(())
    }

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        let address = self.address(name);
        match answered("writing", &address, self.post(&address, bytes)) {
            // Refused for good, or because it is there already: an earlier attempt whose answer was lost.
            Err(refused) if refused.class == Class::Denied => match self.head(name) {
                Ok(size) if size == bytes.len() as u64 => Ok(()),
                Ok(_) => {
                    self.remove(name)?;
                    answered("writing", &address, self.post(&address, bytes)).map(drop)
                }
                Err(_) => Err(refused),
            },
            other => other.map(drop),
        }
    }

    fn remove(&self, name: Name) -> Result<(), StoreError> {
        let address = self.address(name);
        let request = self.with_login(self.agent.delete(&address));
        answered("removing", &address, request.call()).map(drop)
    }
}

/// Size of the body, as the server announces it.
fn length(answer: &Response<Body>) -> Option<u64> {
    let text = answer.headers().get("content-length")?.to_str().ok()?;
    text.parse().ok()
}

/// Size of the whole file, from a part's `Content-Range: bytes 0-9/100`.
fn total_of(answer: &Response<Body>) -> Option<u64> {
    let text = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.rsplit_once('/')?.1.parse().ok()
}

/// Reads the body to its end; one that is shorter than announced is an error.
fn whole(
    what: &'static str,
    address: &str,
    answer: Response<Body>,
    into: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let announced = length(&answer);
    if announced.is_some_and(|length| length > LARGEST_ANSWER) {
        return Err(error(
            what,
            address,
            "it is absurdly large",
            Class::Permanent,
        ));
    }
    into.clear();
    if let Some(length) = announced.and_then(|length| usize::try_from(length).ok()) {
        into.reserve_exact(length);
    }
    let reader = answer.into_body().into_reader();
    reader
        .take(LARGEST_ANSWER + 1)
        .read_to_end(into)
        .map_err(|source| error(what, address, &source.to_string(), Class::Temporary))?;
    match announced {
        Some(length) if length != into.len() as u64 => Err(wrong_length(what, address)),
        _ => Ok(()),
    }
}

fn wrong_length(what: &'static str, address: &str) -> StoreError {
    error(
        what,
        address,
        "the server sent another number of bytes than it announced",
        Class::Temporary,
    )
}

/// What an answer means: only a success is one.
fn answered(
    what: &'static str,
    address: &str,
    answer: Result<Response<Body>, ureq::Error>,
) -> Result<Response<Body>, StoreError> {
    let answer =
        answer.map_err(|failed| error(what, address, &failed.to_string(), class(&failed)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let class = match status.as_u16() {
        404 | 410 => Class::Missing,
        401 | 403 | 405 | 407 | 451 => Class::Denied,
        // Insufficient storage (RFC 4918, 11.5), and a quota spoken of as a size.
        413 | 507 => Class::Full,
        408 | 425 | 429 | 500 | 502..=504 => Class::Temporary,
        _ => Class::Permanent,
    };
    let reason = match class {
        Class::Full => "there is no room left on the server".into(),
        _ => format!("the server answers {status}"),
    };
    Err(error(what, address, &reason, class))
}

/// A connection that failed may be made another time; what was wrong before any connection stays wrong.
const fn class(failed: &ureq::Error) -> Class {
    match failed {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_) => Class::Temporary,
        _ => Class::Permanent,
    }
}

fn error(what: &'static str, address: &str, reason: &str, class: Class) -> StoreError {
    StoreError {
        what,
        subject: address.into(),
        reason: reason.into(),
        class,
    }
}

/// The two forms of a listing. Names that are no ids are skipped.
pub mod listing {
    use crate::id::Id;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Sized {
        name: String,
        size: u64,
    }

    /// Reads version 2: names with sizes in bytes.
    ///
    /// # Errors
    /// Not such a list.
    pub fn sized(json: &[u8], each: &mut dyn FnMut(Id, u64)) -> Result<(), serde_json::Error> {
        // Go writes an empty list as null.
        let files: Option<Vec<Sized>> = serde_json::from_slice(json)?;
        for file in files.into_iter().flatten() {
            if let Ok(id) = file.name.parse() {
                each(id, file.size);
            }
        }
        Ok(())
    }

    /// Reads version 1: names alone.
    ///
    /// # Errors
    /// Not such a list.
    pub fn plain(json: &[u8]) -> Result<Vec<Id>, serde_json::Error> {
        let names: Option<Vec<String>> = serde_json::from_slice(json)?;
        let names = names.into_iter().flatten();
        Ok(names.filter_map(|name| name.parse().ok()).collect())
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

    #[test]
    fn listings_are_read_in_both_forms_and_nonsense_is_refused() {
        let id = Id::of(b"x");
        let mut found = Vec::new();
        let json = format!(r#"[{{"name":"{id}","size":7}},{{"name":"..","size":1}}]"#);
        listing::sized(json.as_bytes(), &mut |id, size| found.push((id, size))).unwrap();
        assert_eq!(found, [(id, 7)]);
        assert_eq!(
            listing::plain(format!(r#"["{id}","x"]"#).as_bytes()).unwrap(),
            [id]
        );
        assert!(listing::plain(b"null").unwrap().is_empty());
        for nonsense in ["{}", "[1]", "[\"a\"", "<html>"] {
            assert!(listing::plain(nonsense.as_bytes()).is_err());
            assert!(listing::sized(nonsense.as_bytes(), &mut |_, _| {}).is_err());
        }
    }
}
