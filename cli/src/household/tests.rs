//! The household's certificates as a TLS peer judges them: rustls' own verifiers, no network.
use super::*;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-01 and 2999-01-01, seconds since 1970.
const NOW: u64 = 1_767_225_600;
const FAR: u64 = 32_472_144_000;

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("own PEM")
}

fn roots(ca: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(ca)).expect("own authority");
    Arc::new(roots)
}

fn client_is_accepted(ca: &str, crl: &str, client: &str, at: u64) -> Result<(), rustls::Error> {
    let crl = CertificateRevocationListDer::from_pem_slice(crl.as_bytes()).expect("own PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots(ca), provider)
        .with_crls([crl])
        .enforce_revocation_expiration()
        .build()
        .expect("verifier")
        .verify_client_cert(
            &der(client),
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(at)),
        )
        .map(|_| ())
}

fn broker_is_accepted(ca: &str, broker: &str, name: &'static str) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiServerVerifier::builder_with_provider(roots(ca), provider)
        .build()
        .expect("verifier")
        .verify_server_cert(
            &der(broker),
            &[],
            &ServerName::try_from(name).expect("name"),
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(NOW)),
        )
        .map(|_| ())
}

#[test]
fn a_client_certificate_is_accepted_now_and_in_a_thousand_years() {
    let ca = Authority::generate("test").expect("authority");
    let phone = ca
        .issue_client("00112233445566778899aabbccddeeff")
        .expect("certificate");
    let crl = ca.revocation_list(1, &[]).expect("list");
    for at in [NOW, FAR] {
        client_is_accepted(ca.certificate(), &crl, &phone.certificate, at).expect("accepted");
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let ca = Authority::generate("test").expect("authority");
    let stolen = ca.issue_client("aa").expect("certificate");
    let other = ca.issue_client("bb").expect("certificate");
    let crl = ca.revocation_list(2, &[stolen.serial]).expect("list");
    assert!(client_is_accepted(ca.certificate(), &crl, &stolen.certificate, NOW).is_err());
    client_is_accepted(ca.certificate(), &crl, &other.certificate, NOW).expect("accepted");
}

#[test]
fn another_household_is_refused() {
    let (ours, theirs) = (
        Authority::generate("ours").expect("authority"),
        Authority::generate("theirs").expect("authority"),
    );
    let stranger = theirs.issue_client("aa").expect("certificate");
    let crl = ours.revocation_list(1, &[]).expect("list");
    assert!(client_is_accepted(ours.certificate(), &crl, &stranger.certificate, NOW).is_err());
}

#[test]
fn a_client_certificate_cannot_pose_as_the_broker() {
    let ca = Authority::generate("test").expect("authority");
    let phone = ca.issue_client("localhost").expect("certificate");
    assert!(broker_is_accepted(ca.certificate(), &phone.certificate, "localhost").is_err());
}

#[test]
fn the_broker_answers_to_its_name_or_address_and_here_to_localhost_too() {
    let ca = Authority::generate("test").expect("authority");
    for (host, accepted, refused) in [
        (
            "broker.example",
            vec!["broker.example"],
            vec!["localhost", "evil.example"],
        ),
        (
            "192.0.2.7",
            vec!["192.0.2.7"],
            vec!["192.0.2.8", "127.0.0.1"],
        ),
        (
            "127.0.0.1",
            vec!["127.0.0.1", "localhost"],
            vec!["192.0.2.7"],
        ),
        (
            "localhost",
            vec!["127.0.0.1", "localhost", "::1"],
            vec!["broker.example"],
        ),
        ("2001:db8::1", vec!["2001:db8::1"], vec!["::1"]),
    ] {
        let broker = ca.issue_broker(host).expect("certificate").certificate;
        for name in accepted {
            broker_is_accepted(ca.certificate(), &broker, name).expect("accepted");
        }
        for name in refused {
            assert!(
                broker_is_accepted(ca.certificate(), &broker, name).is_err(),
                "{host} {name}"
            );
        }
    }
}

#[test]
fn an_authority_taken_up_again_from_the_keyring_issues_what_the_pinned_one_accepts() {
    let first = Authority::generate("test").expect("authority");
    let again = Authority::load(first.certificate(), &first.key()).expect("load");
    let phone = again.issue_client("aa").expect("certificate");
    let crl = again.revocation_list(3, &[]).expect("list");
    client_is_accepted(first.certificate(), &crl, &phone.certificate, NOW).expect("accepted");
}

#[test]
fn debug_output_shows_no_private_key() {
    let ca = Authority::generate("test").expect("authority");
    let phone = ca.issue_client("aa").expect("certificate");
    assert!(!format!("{ca:?}{phone:?}").contains("PRIVATE"));
}
