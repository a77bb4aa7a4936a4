//! A household to measure: owner, broker, and phones that each reach the broker through a proxy of their own. It must not measure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::{Broker, Handset, Household, PASSPHRASE, Proc, Receiver, TcpProxy, wait_until};
use homing_link::{Credentials, Endpoint};
use homing_owner::account::Unlocked;
use homing_protocol::enrolment::Bundle;
use homing_protocol::id::DeviceId;
use homing_protocol::keyring::KitSecret;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use crate::error::{Error, unreadable};

/// How long what takes milliseconds may take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An owner, a broker, a simulated world; phones are added to it.
#[derive(Debug)]
pub(crate) struct House {
    /// What the harness knows of it; its own handset stays unused.
    pub(crate) household: Household,
}

/// What belongs to one device of the account: papers and the way to the broker.
#[derive(Debug)]
pub(crate) struct Line {
    /// The name the owner gave.
    pub(crate) name: String,
    /// Which device it is.
    pub(crate) device: DeviceId,
    /// TLS identity, as in its bundle.
    pub(crate) credentials: Credentials,
    /// Its own way to the broker: counts bytes, delays, cuts.
    pub(crate) proxy: TcpProxy,
    bundle: PathBuf,
}

impl Line {
    /// Where this device finds the broker.
    pub(crate) fn endpoint(&self) -> Endpoint {
        local(self.proxy.port())
    }
}

/// A phone that has joined.
#[derive(Debug)]
pub(crate) struct Phone {
    /// Its programs.
    pub(crate) handset: Handset,
    /// Its papers and its way.
    pub(crate) line: Line,
}

impl House {
    /// A fresh account with a running broker.
    pub(crate) fn build() -> Self {
        Self {
            household: Household::without_phone(Receiver::Simulated),
        }
    }

    /// Adds a device: a bundle with papers, and a proxy in front of the broker for it alone.
    ///
    /// # Errors
    /// A bundle that cannot be read.
    pub(crate) fn line(&self, name: &str) -> Result<Line, Error> {
        let path = self.bundle_path(name);
        let text = path.display().to_string();
        let owner = &self.household.owner;
        let _ = owner
            .homing(&["device", "add", name, "--out", &text])
            .expect_success();
        self.take_bundle(name)
    }

    /// Adds a phone that joins and runs and keeps no movement history, for which it would search every few minutes;
    /// `settings` is a fragment of its configuration.
    ///
    /// # Errors
    /// A bundle that cannot be read or written.
    pub(crate) fn phone(&self, name: &str, settings: &str) -> Result<Phone, Error> {
        let (household, path) = (&self.household, self.bundle_path(name));
        let text = path.display().to_string();
        let words = [
            "device",
            "add",
            name,
            "--out",
            &text,
            "--wait",
            "2m",
            "--history",
            "off",
        ];
        let mut adding = household.owner.start(&format!("add-{name}"), &words);
        wait_until(PATIENCE, "the bundle", || path.is_file().then_some(()));
        let line = self.take_bundle(name)?;
        let folder = household.scratch.folder(name);
        let mut handset = Handset::new(&folder, &household.sim, None);
        if !settings.is_empty() {
            handset.configure("bench", settings);
        }
        handset.enrol(&line.bundle);
        handset.start_agent();
        let status = adding.wait(PATIENCE * 2);
        assert!(
            status.success(),
            "device add: {status}\n{}\n{}",
            adding.log(),
            handset.agent_log()
        );
        wait_connected(&handset);
        Ok(Phone { handset, line })
    }

    fn bundle_path(&self, name: &str) -> PathBuf {
        self.household.scratch.path().join(format!("{name}.homing"))
    }

    /// Reads a bundle and points it at a proxy of its own.
    fn take_bundle(&self, name: &str) -> Result<Line, Error> {
        let path = self.bundle_path(name);
        let mut bundle = Bundle::decode(&read(&path)?)?;
        let proxy = TcpProxy::start(self.household.broker.port());
        bundle.broker = local(proxy.port()).to_string();
        std::fs::write(&path, bundle.encode().as_slice()).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(Line {
            name: name.to_owned(),
            device: bundle.address.device,
            credentials: Credentials {
                ca_pem: bundle.ca_pem,
                certificate_pem: bundle.tls_certificate_pem,
                key_pem: bundle.tls_key_pem,
            },
            proxy,
            bundle: path,
        })
    }

    /// The broker.
    pub(crate) fn broker(&self) -> &Broker {
        &self.household.broker
    }

    /// Opens the account as a new machine would: from a recovery kit with the owner's passphrase.
    ///
    /// # Errors
    /// A kit that cannot be read or opened.
    pub(crate) fn unlock(&self) -> Result<Unlocked, Error> {
        let path = self.household.scratch.path().join("bench-kit.json");
        let text = path.display().to_string();
        let _ = self
            .household
            .owner
            .homing(&["kit", "--out", &text])
            .expect_success();
        let kit: serde_json::Value =
            serde_json::from_slice(&read(&path)?).map_err(|_| unreadable("the recovery kit"))?;
        let word = |name: &str| {
            kit[name]
                .as_str()
                .ok_or_else(|| unreadable("the recovery kit"))
        };
        let secret = KitSecret::from_text(word("kit_secret")?)?;
        let blob = STANDARD
            .decode(word("keyring")?)
            .map_err(|_| unreadable("the recovery kit's keyring"))?;
        Ok(Unlocked::open(&blob, PASSPHRASE, &secret)?)
    }
}

/// A TLS certificate for another client of the owner, as `homing recover` would issue it to itself.
///
/// # Errors
/// The household's key does not sign.
pub(crate) fn owner_credentials(account: &Unlocked) -> Result<Credentials, Error> {
    let algorithm = &PKCS_ECDSA_P256_SHA256;
    let ca = KeyPair::from_pkcs8_pem_and_sign_algo(&account.full.ca_key_pem, algorithm)?;
    let issuer = Issuer::from_ca_cert_pem(&account.find.ca_pem, &ca)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = format!("owner-{}", account.find.account);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate_for(algorithm)?;
    Ok(Credentials {
        ca_pem: account.find.ca_pem.clone(),
        certificate_pem: params.signed_by(&key, &issuer)?.pem(),
        key_pem: key.serialize_pem().into(),
    })
}

/// A broker on this machine.
pub(crate) fn local(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Waits until an agent says that it is connected.
pub(crate) fn wait_connected(handset: &Handset) {
    wait_until(PATIENCE, "the agent to be connected", || {
        let status = handset.homingd(&["status", "--json"]).expect_success();
        (status.json()["agent"]["broker"] == "connected").then_some(())
    });
}

/// The process id of a handset's agent.
///
/// # Errors
/// It was not started.
pub(crate) fn agent_id(handset: &mut Handset) -> Result<u32, Error> {
    handset
        .agent()
        .map(|agent: &mut Proc| agent.id())
        .ok_or_else(|| Error::Cut {
            what: "the agent",
            reason: "it was not started".to_owned(),
        })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
