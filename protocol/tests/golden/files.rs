//! The examples of what is stored rather than sent: the enrolment bundle and the keyring, and the table of keys. Checks nothing itself.

use crate::examples::{Example, authority};
use crate::json::{Json, object};
use crate::sample::{Draws, EPOCH, address, fixed, kem, secret, short, signing};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use hkdf::Hkdf;
use homing_protocol::cbor;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::enrolment::Bundle;
use homing_protocol::id::ClientId;
use homing_protocol::keyring::{
    FindPart, FullPart, KitSecret, KnownClient, KnownDevice, PassphraseCost, RecoveryCode,
    WrappingKeys,
};
use sha2::Sha256;

/// Stands for a certificate or key in PEM.
pub(crate) const CA: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
/// Stands for a certificate or key in PEM.
pub(crate) const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
const CRL: &str = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
/// Where the sample household listens.
pub(crate) const BROKER: &str = "mqtts://broker.example:8883";
/// The passphrase of the sample keyring.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// Every key of the examples.
pub(crate) fn keys() -> String {
    let signing: Json = ["root", "owner", "find", "partner", "agent", "actor"].into_iter().map(|name| {
        let key = signing(name);
        object! { "name": name, "seed": *key.to_bytes(), "public": key.public().0, "key_id": key.public().key_id().0, "client_id": key.public().client_id().0 }
    }).collect();
    let receiving: Json = ["owner", "find", "partner", "device"].into_iter().map(|name| {
        let key = kem(name);
        object! { "name": name, "secret": *key.to_bytes(), "public": key.public().0, "key_id": key.public().key_id().0 }
    }).collect();
    object! {
        "name": "keys", "account": address().account.0, "device": address().device.0, "epoch": EPOCH,
        "one_time_secret": secret().0, "ed25519": signing, "x25519": receiving,
    }
    .file()
}

/// An enrolment bundle.
pub(crate) fn bundle() -> Example {
    let bundle = Bundle {
        address: address(),
        epoch: EPOCH,
        name: "Ada's phone".into(),
        broker: BROKER.into(),
        ca_pem: CA.into(),
        tls_certificate_pem: CA.into(),
        tls_key_pem: String::from(KEY).into(),
        root: signing("root").public(),
        authority: authority().sign(&signing("root")).expect("short enough"),
        owner: kem("owner").public(),
        secret: secret(),
        retention_days: 30,
    };
    let inputs = object! {
        "account": bundle.address.account.0, "device": bundle.address.device.0, "epoch": bundle.epoch, "name": bundle.name.as_str(),
        "broker": BROKER, "ca_pem": CA, "tls_certificate_pem": CA, "tls_key_pem": KEY, "root": bundle.root.0,
        "authority": bundle.authority.as_slice(), "owner": bundle.owner.0, "secret": secret().0, "retention_days": bundle.retention_days,
    };
    Example {
        name: "bundle",
        inputs,
        steps: vec![("file", bundle.encode().to_vec())],
        random: Vec::new(),
    }
}

/// The kit secret of the sample keyring.
pub(crate) fn kit() -> KitSecret {
    KitSecret(short::<16>("kit").into())
}

/// The recovery code of the sample keyring.
pub(crate) fn code() -> RecoveryCode {
    RecoveryCode(short::<20>("recovery code").into())
}

/// Passphrase to key, step by step, without the crate's own code: stretched, find key, full key.
fn derived(salt: &[u8]) -> [[u8; 32]; 4] {
    let params = argon2::Params::new(64 * 1024, 3, 1, Some(32)).expect("in range");
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut stretched = [0; 32];
    argon
        .hash_password_into(PASSPHRASE.as_bytes(), salt, &mut stretched)
        .expect("in range");
    let expand = |input: &[u8], info: &[u8]| {
        let mut out = [0; 32];
        Hkdf::<Sha256>::new(Some(salt), input)
            .expand(info, &mut out)
            .expect("32 bytes");
        out
    };
    let both = [stretched.as_slice(), kit().0.as_slice()].concat();
    let recovery = expand(code().0.as_slice(), b"homing/v1 recovery");
    [
        stretched,
        expand(&stretched, b"homing/v1 find"),
        expand(&both, b"homing/v1 full"),
        recovery,
    ]
}

/// The plain text of a wrapped part, opened here step by step.
fn opened(key: &[u8; 32], aad: &[u8], part: &[u8]) -> Vec<u8> {
    let (nonce, sealed) = part.split_first_chunk::<12>().expect("a nonce");
    Aes256Gcm::new(key.into())
        .decrypt(&(*nonce).into(), Payload { msg: sealed, aad })
        .expect("sealed with this key")
}

/// The sample phone as owner and delegate know it.
pub(crate) fn device() -> KnownDevice {
    KnownDevice {
        device: address().device,
        name: "Ada's phone".into(),
        certificate: DeviceCertificate {
            address: address(),
            epoch: EPOCH,
            keys: crate::examples::device_keys(),
        }
        .sign(&signing("root")),
        key_set: crate::examples::key_set()
            .sign(&signing("root"))
            .expect("short enough"),
        tls_serial: fixed("serial")[..8].to_vec(),
    }
}

fn find_part() -> FindPart {
    FindPart {
        account: address().account,
        root: signing("root").public(),
        signing: signing("find"),
        reading: kem("find"),
        broker: BROKER.into(),
        ca_pem: CA.into(),
        authority: authority().sign(&signing("root")).expect("short enough"),
        devices: vec![device()],
    }
}

/// Keyrings at the cheapest allowed cost: one of the first builds, and one of a household that knows who added whom, which
/// phones a delegate has, and who was put out.
pub(crate) fn keyrings() -> [Example; 2] {
    let partner = KnownClient {
        client: signing("partner").public().client_id(),
        name: "Partner".into(),
        reading: kem("partner").public(),
        tls_serial: fixed("partner serial")[..16].to_vec(),
        phones: None,
        added_by: None,
    };
    let delegate = KnownClient {
        phones: Some(vec![address().device]),
        added_by: Some(signing("owner").public().client_id()),
        ..partner.clone()
    };
    let put_out = vec![ClientId(short("put out")), ClientId(short("put out later"))];
    [
        keyring("keyring", partner, Vec::new()),
        keyring("keyring-household", delegate, put_out),
    ]
}

fn keyring(name: &'static str, client: KnownClient, put_out: Vec<ClientId>) -> Example {
    let mut draws = Draws::new(name);
    let find = find_part();
    let full = FullPart {
        root: signing("root"),
        ca_key_pem: String::from(KEY).into(),
        crl_pem: CRL.into(),
        clients: vec![client],
        put_out,
    };
    let keys = WrappingKeys::create(
        PASSPHRASE,
        &kit(),
        &code(),
        PassphraseCost::FLOOR,
        &mut draws,
    )
    .expect("at the floor");
    let blob = keys
        .wrap(9, &find, &full, &mut draws)
        .expect("small enough");
    let salt = draws.taken[0].clone();
    let [stretched, find_key, full_key, recovery_key] = derived(&salt);
    let aad = |label: &str| {
        [
            label.as_bytes(),
            &salt,
            &(64u32 * 1024).to_be_bytes(),
            &3u32.to_be_bytes(),
            &9u64.to_be_bytes(),
        ]
        .concat()
    };
    let value = cbor::decode(&blob).expect("made here");
    let part = |key: i64| {
        cbor::Fields::of(&value)
            .and_then(|mut fields| fields.blob(key).map(<[u8]>::to_vec))
            .expect("made here")
    };
    let steps = vec![
        ("stretched", stretched.to_vec()),
        ("find_key", find_key.to_vec()),
        ("full_key", full_key.to_vec()),
        ("recovery_key", recovery_key.to_vec()),
        ("find_aad", aad("find")),
        ("find_plain", opened(&find_key, &aad("find"), &part(5))),
        ("full_plain", opened(&full_key, &aad("full"), &part(6))),
        (
            "recovery_plain",
            opened(&recovery_key, &aad("recovery"), &part(7)),
        ),
        ("rewrap_plain", opened(&full_key, &aad("rewrap"), &part(8))),
        ("blob", blob),
    ];
    let inputs = object! {
        "passphrase": PASSPHRASE, "kit": *kit().0, "kit_text": kit().to_text().as_str(), "recovery_code": *code().0,
        "recovery_code_text": code().to_text().as_str(), "memory_kib": PassphraseCost::FLOOR.memory_kib,
        "passes": PassphraseCost::FLOOR.passes, "generation": 9,
    };
    Example {
        name,
        inputs,
        steps,
        random: draws.taken,
    }
}
