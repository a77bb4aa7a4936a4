//! Issues and revokes the household's TLS certificates. Stores nothing and never prints a private key.
use crate::error::Error;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, RevocationReason, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use time::OffsetDateTime;
use time::macros::datetime;
use zeroize::Zeroizing;

/// RFC 5280 §4.1.2.5: the value for a certificate without a well-known expiry. A phone that was off for years must still be findable; certificates end by revocation.
const NO_EXPIRY: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// Start of validity of everything we issue. Fixed and past, so that neither an owner's nor a broker's wrong clock makes a fresh certificate or revocation list "not yet valid".
fn always_valid_since() -> OffsetDateTime {
    date_time_ymd(2020, 1, 1)
}

/// A certificate's serial number: 16 octets, positive (RFC 5280 §4.1.2.2 allows 20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Serial(pub(crate) [u8; 16]);

impl Serial {
    fn random() -> Result<Self, Error> {
        let mut octets = [0; 16];
        crate::random::fill(&mut octets)?;
        // DER integers are signed and minimal: the first octet lies within 0x40..=0x7f.
        octets[0] = (octets[0] & 0x3f) | 0x40;
        Ok(Self(octets))
    }
}

/// A certificate with its private key, both PEM. Debug shows neither.
pub(crate) struct Credential {
    /// The certificate, PEM.
    pub(crate) certificate: String,
    /// Its private key, PKCS #8 PEM.
    pub(crate) key: Zeroizing<String>,
    /// What a revocation list names.
    pub(crate) serial: Serial,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({:?}, redacted)", self.serial)
    }
}

/// The household's certificate authority, P-256. Its private key lives in the keyring blob only.
pub(crate) struct Authority {
    certificate: String,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(redacted)")
    }
}

impl Authority {
    /// Makes a new authority; `label` tells households apart in a certificate viewer.
    pub(crate) fn generate(label: &str) -> Result<Self, Error> {
        let key = new_key()?;
        let mut params = params(&format!("Homing household {label}"))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(Error::Certificate)?.pem();
        Ok(Self { certificate, key })
    }

    /// Takes up an authority again from its certificate (PEM) and private key (PKCS #8 PEM).
    pub(crate) fn load(certificate: &str, key: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256)
            .map_err(Error::Certificate)?;
        let authority = Self {
            certificate: certificate.to_owned(),
            key,
        };
        authority.issuer()?;
        Ok(authority)
    }

    /// The certificate that everybody pins, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key, PKCS #8 PEM, for the keyring blob and nothing else.
    pub(crate) fn key(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// A client certificate; `common_name` is the device id or `owner-` with the account's id, which the broker takes as the user name.
    pub(crate) fn issue_client(&self, common_name: &str) -> Result<Credential, Error> {
        let mut params = params(common_name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// The broker's certificate for `host` (name or address); a broker on this machine also answers to `localhost`, 127.0.0.1 and ::1.
    pub(crate) fn issue_broker(&self, host: &str) -> Result<Credential, Error> {
        let mut params = params(host)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = alternative_names(host)?;
        self.issue(params)
    }

    /// The revocation list, PEM; `number` must grow with every list, revoked serials never leave it.
    pub(crate) fn revocation_list(&self, number: u64, revoked: &[Serial]) -> Result<String, Error> {
        let list = CertificateRevocationListParams {
            this_update: always_valid_since(),
            // A broker that never gets a newer list must go on serving the phones that are not revoked.
            next_update: NO_EXPIRY,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial.0),
                    revocation_time: always_valid_since(),
                    reason_code: Some(RevocationReason::CessationOfOperation),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list
            .signed_by(&self.issuer()?)
            .map_err(Error::Certificate)?;
        list.pem().map_err(Error::Certificate)
    }

    fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, Error> {
        Issuer::from_ca_cert_pem(&self.certificate, &self.key).map_err(Error::Certificate)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Credential, Error> {
        let serial = Serial::random()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial.0));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer()?);
        Ok(Credential {
            certificate: certificate.map_err(Error::Certificate)?.pem(),
            key: Zeroizing::new(key.serialize_pem()),
            serial,
        })
    }
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Certificate)
}

fn params(common_name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = always_valid_since();
    params.not_after = NO_EXPIRY;
    Ok(params)
}

fn alternative_names(host: &str) -> Result<Vec<SanType>, Error> {
    let dns = |name: &str| {
        name.try_into()
            .map(SanType::DnsName)
            .map_err(Error::Certificate)
    };
    let mut names = vec![match host.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => dns(host)?,
    }];
    let here = matches!(host.parse::<IpAddr>(), Ok(address) if address.is_loopback());
    if here || host == "localhost" {
        for name in [
            dns("localhost")?,
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
        ] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}
