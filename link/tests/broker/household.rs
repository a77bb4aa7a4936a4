//! A household's certificates, made anew for each test.

use std::cell::Cell;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

/// A certificate with its key; the name is the common name.
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    pub(crate) serial: u64,
}

/// The validity of a certificate by calendar years.
#[derive(Clone, Copy)]
pub(crate) struct Years {
    pub(crate) from: i32,
    pub(crate) to: i32,
}

/// RFC 5280 §4.1.2.5: no well-known expiry.
pub(crate) const ALWAYS: Years = Years {
    from: 2020,
    to: 9999,
};

/// The household's CA.
pub(crate) struct Household {
    ca: CertifiedIssuer<'static, KeyPair>,
    serial: Cell<u64>,
}

impl Household {
    pub(crate) fn new() -> Self {
        let mut params = params("Test household CA", &[], ALWAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self {
            ca: CertifiedIssuer::self_signed(params, key).expect("a CA"),
            serial: Cell::new(1),
        }
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    pub(crate) fn client(&self, name: &str) -> Identity {
        self.issue(name, &[], ALWAYS, ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(crate) fn broker(&self, names: &[&str], years: Years) -> Identity {
        self.issue("broker", names, years, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(
        &self,
        name: &str,
        names: &[&str],
        years: Years,
        usage: ExtendedKeyUsagePurpose,
    ) -> Identity {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let mut params = params(name, names, years);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        Identity {
            name: name.to_owned(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            serial,
        }
    }

    /// The revocation list that names these serial numbers.
    pub(crate) fn crl_pem(&self, revoked: &[u64]) -> String {
        self.crl_pem_until(revoked, 9999)
    }

    /// The same with another end of its validity.
    pub(crate) fn crl_pem_until(&self, revoked: &[u64], year: i32) -> String {
        let revoked_certs = revoked.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(year, 12, 31),
            crl_number: SerialNumber::from(revoked.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.ca)
            .expect("a list")
            .pem()
            .expect("PEM")
    }
}

fn params(name: &str, names: &[&str], years: Years) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.from, 1, 1);
    params.not_after = date_time_ymd(years.to, 12, 31);
    params
}
