//! The recovery kit: a file with the wrapped keyring, and what goes on paper.
use super::{Context, account};
use crate::args;
use crate::error::Error;
use crate::file::{self, Access};
use crate::store::Store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homing_owner::account::Unlocked;
use homing_protocol::keyring::KitSecret;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

const FORMAT: &str = "homing recovery kit";

/// The kit file. Opens nothing without passphrase or recovery code.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KitFile {
    format: String,
    version: u32,
    account: String,
    broker: String,
    kit_secret: String,
    keyring: String,
}

impl Drop for KitFile {
    fn drop(&mut self) {
        self.kit_secret.zeroize();
    }
}

impl KitFile {
    /// The kit of an account with this keyring blob.
    pub(crate) fn of(account: &Unlocked, secret: &KitSecret, blob: &[u8]) -> Self {
        Self::new(
            &account.find.account.to_string(),
            &account.find.broker,
            secret,
            blob,
        )
    }

    fn new(account: &str, broker: &str, secret: &KitSecret, blob: &[u8]) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: 1,
            account: account.to_owned(),
            broker: broker.to_owned(),
            kit_secret: secret.to_text().to_string(),
            keyring: STANDARD.encode(blob),
        }
    }

    /// Writes it, for the owner's eyes only.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = Zeroizing::new(serde_json::to_string_pretty(self)? + "\n");
        file::replace(path, text.as_bytes(), Access::Private)
    }

    /// Reads one.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = Zeroizing::new(file::read_text(path)?);
        let kit: Self = serde_json::from_str(&text)
            .map_err(|_| unusable(path, "it is not a recovery kit, or it is damaged"))?;
        if kit.format != FORMAT || kit.version != 1 {
            return Err(unusable(
                path,
                "it is not a recovery kit that this version of homing reads",
            ));
        }
        Ok(kit)
    }

    /// The second half of the full key.
    pub(crate) fn secret(&self, path: &Path) -> Result<KitSecret, Error> {
        KitSecret::from_text(&self.kit_secret)
            .map_err(|_| unusable(path, "its kit secret is damaged"))
    }

    /// The keyring blob.
    pub(crate) fn keyring(&self, path: &Path) -> Result<Vec<u8>, Error> {
        STANDARD
            .decode(&self.keyring)
            .map_err(|_| unusable(path, "its keyring is damaged"))
    }
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::File {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// `homing kit`.
pub(crate) fn run(context: &Context, args: &args::Kit) -> Result<(), Error> {
    let mut store = Store::open(&context.home)?;
    if args.show {
        // Whoever sits at an unattended machine must not get the kit secret on the screen.
        account::unlock(context, &mut store)?;
    }
    let held = store.account()?;
    let kit = held.kit.as_ref().ok_or(Error::Delegate)?;
    KitFile::new(&held.id.to_string(), &held.broker, kit, &held.keyring).write(&args.out)?;
    let path = args.out.display().to_string();
    if !args.show {
        return context.out.both(
            &format!("The recovery kit is in {path}."),
            &json!({ "kit_file": path }),
        );
    }
    let secret = kit.to_text();
    let code = QrCode::new(format!("homing-kit:1:{}:{}", held.id, *secret).as_bytes())
        .map_err(|_| Error::Damaged("kit secret"))?;
    let picture = Zeroizing::new(code.render::<Dense1x2>().build());
    context.out.both(
        &format!("The recovery kit is in {path}.\n\n  account     {}\n  broker      {}\n  kit secret  {}\n\n{}", held.id, held.broker, *secret, *picture),
        &json!({ "kit_file": path, "account": held.id.to_string(), "broker": held.broker, "kit_secret": secret.as_str() }),
    )
}
