//! The TLS client configuration: one pinned CA, one client certificate, a clock that cannot be too early. It must not open sockets.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{Error, LinkSettings, clock::VerifierClock};

/// Builds the configuration: TLS 1.2 or later, the household CA alone, ring named explicitly (no global default).
///
/// # Errors
/// What is wrong with CA, certificate or key; never a word of the key itself.
pub(crate) fn client_config(settings: &LinkSettings) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let clock = VerifierClock {
        system: settings.system_clock,
        floor: settings.clock_floor,
    };
    let verifier = PinnedVerifier::new(household_roots(&settings.credentials.ca_pem)?, &provider)?;
    let chain = certificates(&settings.credentials.certificate_pem)
        .map_err(|why| Error::ReadCertificate { why })?;
    let key =
        PrivateKeyDer::from_pem_slice(settings.credentials.key_pem.as_bytes()).map_err(|_| {
            Error::ReadKey {
                why: "it is not a PEM private key".to_owned(),
            }
        })?;
    let build = |error: TlsError| Error::BuildTls {
        why: error.to_string(),
    };
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(clock))
        .with_safe_default_protocol_versions()
        .map_err(build)?
        // The verifier is rustls' own with one rule added; see `PinnedVerifier`.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(build)?;
    // One broker: a handful of tickets is enough, and 256 would be memory a phone does not have to spare.
    config.resumption = Resumption::in_memory_sessions(2);
    Ok(config)
}

fn household_roots(pem: &str) -> Result<RootCertStore, Error> {
    let wrong = |why: String| Error::ReadCa { why };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(wrong)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    Ok(roots)
}

pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(list) if list.is_empty() => Err("there is no PEM certificate in it".to_owned()),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("it is not well-formed PEM ({error})")),
    }
}

/// rustls' verifier with one rule more: a certificate of the household that is *not valid yet* is judged at the
/// moment it becomes valid. The build may be older than the household and the phone may have slept through a renewal
/// with a clock at 1970; a certificate signed by the pinned CA is not suspicious for being young. Chain, name,
/// purpose and expiry are checked as ever, in full, at both moments.
#[derive(Debug)]
struct PinnedVerifier {
    inner: Arc<WebPkiServerVerifier>,
}

/// A chain has a broker certificate and a CA, perhaps an intermediate: each can be "not valid yet" once.
const NOT_BEFORE_STEPS: usize = 4;

impl PinnedVerifier {
    fn new(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| Error::ReadCa {
                    why: error.to_string(),
                })?;
        Ok(Self { inner })
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let mut at = now;
        for _ in 0..NOT_BEFORE_STEPS {
            match self.inner.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                at,
            ) {
                Err(TlsError::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if not_before > at => {
                    at = not_before;
                }
                verdict => return verdict,
            }
        }
        Err(TlsError::InvalidCertificate(CertificateError::NotValidYet))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
