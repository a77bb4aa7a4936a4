//! Phones in the owner's state: invited, claimed, enrolled, revoked.
use super::{Membership, NewsKind, Store, count, fixed, int, news::tell};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::suggest;
use homing_owner::enrol::{Accepted, Invitation};
use homing_owner::phone::Phone;
use homing_protocol::certificate::DeviceKeys;
use homing_protocol::enrolment::Claim;
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, DeviceId};
use homing_protocol::keyring::KnownDevice;
use homing_protocol::keys::{Psk, VerifyingKey};
use homing_protocol::readers::KeySet;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use zeroize::Zeroizing;

/// Longest name, bytes (protocol v1, bundle).
pub(crate) const LONGEST_NAME: usize = 64;

/// How far a phone's membership has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A bundle was written.
    Invited,
    /// A phone has claimed it; ROOT has not signed yet.
    Claimed,
    /// ROOT has signed its keys.
    Enrolled,
    /// It was put out.
    Revoked,
}

impl Standing {
    /// The word stored and shown.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Claimed => "claimed",
            Self::Enrolled => "enrolled",
            Self::Revoked => "revoked",
        }
    }
    fn from_word(word: &str) -> Result<Self, Error> {
        [Self::Invited, Self::Claimed, Self::Enrolled, Self::Revoked]
            .into_iter()
            .find(|standing| standing.word() == word)
            .ok_or(Error::Damaged("device's standing"))
    }
}

/// One phone as stored.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRow {
    /// Its id.
    pub(crate) id: DeviceId,
    /// The owner's name for it.
    pub(crate) name: String,
    /// How far its membership has come.
    pub(crate) standing: Standing,
    /// Enrolment number.
    pub(crate) epoch: u32,
    /// Serial of its TLS certificate.
    pub(crate) tls_serial: Vec<u8>,
    /// One-time secret of its bundle; kept to notice second claims.
    pub(crate) secret: Option<Psk>,
    /// The first claim that was made.
    pub(crate) claim: Option<Vec<u8>>,
    /// ROOT-signed device certificate; empty before.
    pub(crate) certificate: Vec<u8>,
    /// ROOT-signed key set; empty before.
    pub(crate) key_set: Vec<u8>,
    /// Its version.
    pub(crate) key_set_version: u64,
    /// Our answer to its claim, until its first beacon.
    pub(crate) answer: Option<Vec<u8>>,
    /// What a person compares.
    pub(crate) fingerprint: String,
    /// When the bundle was written.
    pub(crate) added_at: UnixMs,
    /// When it was last heard of.
    pub(crate) last_contact: Option<UnixMs>,
    /// When its newest beacon was made: what that promises counts from here.
    pub(crate) beacon_made_at: Option<UnixMs>,
    /// When it was put out.
    pub(crate) revoked_at: Option<UnixMs>,
}

impl DeviceRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, Error>> {
        let id: Vec<u8> = row.get("id")?;
        let standing: String = row.get("standing")?;
        let secret: Option<Vec<u8>> = row.get("secret")?;
        let parsed = || -> Result<_, Error> {
            let secret = secret.map(Zeroizing::new);
            let secret = secret
                .map(|bytes| fixed(&bytes, "bundle secret"))
                .transpose()?;
            Ok((
                DeviceId(fixed(&id, "device id")?),
                Standing::from_word(&standing)?,
                secret,
            ))
        };
        let (id, standing, secret) = match parsed() {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Self {
            id,
            name: row.get("name")?,
            standing,
            epoch: row.get("epoch")?,
            tls_serial: row.get("tls_serial")?,
            secret: secret.map(|bytes| Psk(Zeroizing::new(bytes))),
            claim: row.get("claim")?,
            certificate: row.get("certificate")?,
            key_set: row.get("key_set")?,
            key_set_version: count(row.get("key_set_version")?),
            answer: row.get("answer")?,
            fingerprint: row.get("fingerprint")?,
            added_at: UnixMs(row.get("added_at")?),
            last_contact: row.get::<_, Option<i64>>("last_contact")?.map(UnixMs),
            beacon_made_at: row.get::<_, Option<i64>>("beacon_made_at")?.map(UnixMs),
            revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(UnixMs),
        }))
    }

    /// Its address in an account.
    pub(crate) const fn address(&self, account: AccountId) -> Address {
        Address {
            account,
            device: self.id,
        }
    }

    /// The phone behind it, once ROOT has signed its keys.
    pub(crate) fn phone(
        &self,
        account: AccountId,
        root: &VerifyingKey,
    ) -> Result<Option<Phone>, Error> {
        if self.certificate.is_empty() || self.standing == Standing::Revoked {
            return Ok(None);
        }
        Ok(Some(Phone::certified(
            &self.certificate,
            root,
            &self.address(account),
        )?))
    }

    /// The open invitation, while its secret is known.
    pub(crate) fn invitation(&self, account: AccountId) -> Option<Invitation> {
        let secret = self.secret.clone()?;
        Some(Invitation {
            address: self.address(account),
            epoch: self.epoch,
            secret,
            key_sets: self.key_set_version,
        })
    }

    /// As the keyring remembers it.
    pub(crate) fn known(&self) -> KnownDevice {
        KnownDevice {
            device: self.id,
            name: self.name.clone(),
            certificate: self.certificate.clone(),
            key_set: self.key_set.clone(),
            tls_serial: self.tls_serial.clone(),
        }
    }
}

/// Takes over what the keyring says: authority over phones' certificates and key sets comes from ROOT, newer key sets win, phones that it does not know stay.
pub(super) fn merge_known(
    transaction: &Transaction<'_>,
    membership: &Membership<'_>,
) -> Result<(), Error> {
    for known in membership.devices {
        let address = Address {
            account: membership.account,
            device: known.device,
        };
        if known.certificate.is_empty() {
            continue;
        }
        let phone = Phone::certified(&known.certificate, &membership.root, &address)?;
        let set = KeySet::verify(&known.key_set, &membership.root, &address)
            .map_err(homing_owner::Error::Stored)?;
        let name = name_for(transaction, known)?;
        super::again::meet_epoch(transaction, known.device, phone.epoch, &known.tls_serial)?;
        transaction.execute(
            "INSERT INTO device (id, name, standing, epoch, tls_serial, certificate, key_set, key_set_version, fingerprint, added_at)
             VALUES (?, ?, 'enrolled', ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, certificate = excluded.certificate, key_set = excluded.key_set,
               key_set_version = excluded.key_set_version, fingerprint = excluded.fingerprint,
               standing = CASE standing WHEN 'revoked' THEN 'revoked' ELSE 'enrolled' END
             WHERE excluded.key_set_version >= key_set_version AND excluded.epoch = epoch",
            params![
                known.device.0, name, phone.epoch, known.tls_serial, known.certificate, known.key_set,
                int(set.version), phone.keys.fingerprint(), UnixMs::now().0,
            ],
        )?;
    }
    Ok(())
}

/// What a phone of the keyring is called here: its name there, unless it was renamed here since, with a number after it when another phone has that name already. Two machines may have given it at once, and that must not keep anybody from unlocking.
fn name_for(transaction: &Transaction<'_>, known: &KnownDevice) -> Result<String, Error> {
    let renamed = "SELECT name FROM device, account WHERE device.id = ? AND keyring_stale <> 0";
    let own: Option<String> = transaction
        .query_row(renamed, [known.device.0], |row| row.get(0))
        .optional()?;
    if let Some(own) = own {
        return Ok(own);
    }
    let taken =
        "SELECT count(*) > 0 FROM device WHERE name = ? AND id <> ? AND standing <> 'revoked'";
    let mut name = known.name.clone();
    let mut number = 2;
    while transaction.query_row(taken, params![name, known.device.0], |row| row.get(0))? {
        let suffix = format!(" ({number})");
        let room = LONGEST_NAME - suffix.len();
        let end = known.name.floor_char_boundary(room);
        name = format!("{}{suffix}", known.name[..end].trim_end());
        number += 1;
    }
    Ok(name)
}

impl Store {
    /// Stores a phone for which a bundle is about to be written.
    pub(crate) fn invite(
        &mut self,
        invitation: &Invitation,
        name: &str,
        tls_serial: &[u8],
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        transaction.execute(
            "INSERT INTO device (id, name, standing, epoch, tls_serial, secret, added_at, reports_from) VALUES (?, ?, 'invited', ?, ?, ?, ?, 1)",
            params![
                invitation.address.device.0, name, invitation.epoch, tls_serial, invitation.secret.0.as_slice(), UnixMs::now().0,
            ],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Takes an invitation back whose bundle nobody ever got.
    pub(crate) fn withdraw(&self, id: DeviceId) -> Result<(), Error> {
        let sql = "DELETE FROM device WHERE id = ? AND standing = 'invited'";
        self.connection.execute(sql, [id.0])?;
        Ok(())
    }

    /// Every phone, by name; revoked ones last.
    pub(crate) fn devices(&self) -> Result<Vec<DeviceRow>, Error> {
        let mut statement = self
            .connection
            .prepare("SELECT * FROM device ORDER BY standing = 'revoked', name")?;
        let rows = statement.query_map([], DeviceRow::read)?;
        rows.map(|row| row?).collect()
    }

    /// One phone by id.
    pub(crate) fn device(&self, id: DeviceId) -> Result<Option<DeviceRow>, Error> {
        let mut statement = self
            .connection
            .prepare("SELECT * FROM device WHERE id = ?")?;
        statement
            .query_row([id.0], DeviceRow::read)
            .optional()?
            .transpose()
    }

    /// One phone that was not revoked, by name or id. One that was is said to have been, and when; a name that nearly fits is suggested.
    pub(crate) fn device_named(&self, text: &str) -> Result<DeviceRow, Error> {
        let devices = self.devices()?;
        let id: Option<DeviceId> = text.parse().ok();
        let is_meant = |row: &&DeviceRow| row.name == text || Some(row.id) == id;
        let living = || {
            devices
                .iter()
                .filter(|device| device.standing != Standing::Revoked)
        };
        let by_name = living().find(|row| row.name == text);
        if let Some(row) = by_name.or_else(|| living().find(is_meant)) {
            return Ok(row.clone());
        }
        let gone = devices.iter().filter(is_meant);
        if let Some(row) = gone.max_by_key(|row| row.revoked_at.map(|at| at.0)) {
            return Err(Error::RevokedDevice {
                name: row.name.clone(),
                at: row.revoked_at,
            });
        }
        let names = living().map(|row| row.name.as_str());
        Err(Error::UnknownDevice {
            asked: text.to_owned(),
            nearest: suggest::nearest(text, names).map(str::to_owned),
        })
    }

    /// The phone that is to be put out: one that was put out before too, so that what was interrupted can be repeated.
    pub(crate) fn device_to_revoke(&self, text: &str) -> Result<DeviceRow, Error> {
        let id = text.parse().ok();
        self.device_named(text).or_else(|unknown| {
            let rows = self.devices()?.into_iter();
            rows.filter(|row| row.name == text || Some(row.id) == id)
                .max_by_key(|row| row.added_at.0)
                .ok_or(unknown)
        })
    }

    /// Gives a phone another name; taken names are refused.
    pub(crate) fn rename(&mut self, id: DeviceId, name: &str) -> Result<(), Error> {
        let transaction = self.write()?;
        let taken = "SELECT 1 FROM device WHERE name = ? AND id <> ? AND standing <> 'revoked'";
        if transaction
            .query_row(taken, params![name, id.0], |_| Ok(()))
            .optional()?
            .is_some()
        {
            return Err(Error::Usage(format!(
                "another phone is called {name:?} already"
            )));
        }
        transaction.execute(
            "UPDATE device SET name = ? WHERE id = ?",
            params![name, id.0],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Stores the first claim of a bundle; `false` when one was stored before.
    pub(crate) fn claimed(
        &mut self,
        id: DeviceId,
        claim: &Claim,
        bytes: &[u8],
    ) -> Result<FirstClaim, Error> {
        let transaction = self.write()?;
        let fingerprint = claim.keys.fingerprint();
        let sql = "UPDATE device SET claim = ?, fingerprint = ?, retention_days = ?, standing = 'claimed' WHERE id = ? AND claim IS NULL AND standing = 'invited'";
        let changed =
            transaction.execute(sql, params![bytes, fingerprint, claim.retention_days, id.0])?;
        if changed > 0 {
            tell(&transaction, id, None, NewsKind::Claim, &fingerprint)?;
        }
        transaction.commit()?;
        Ok(if changed > 0 {
            FirstClaim::Stored
        } else {
            FirstClaim::ThereWasOne
        })
    }

    /// Raises the alarm that somebody else has used a copy of a bundle; once for each other key.
    pub(crate) fn rival_claim(&mut self, id: DeviceId, keys: &DeviceKeys) -> Result<(), Error> {
        let fingerprint = keys.fingerprint();
        let transaction = self.write()?;
        let known = "SELECT 1 FROM news WHERE device = ? AND kind = ? AND detail = ?";
        let word = NewsKind::RivalClaim.word();
        if transaction
            .query_row(known, params![id.0, word, fingerprint], |_| Ok(()))
            .optional()?
            .is_none()
        {
            tell(&transaction, id, None, NewsKind::RivalClaim, &fingerprint)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Stores ROOT's word on a claimed phone, and the answer to publish until its first beacon.
    pub(crate) fn enrolled(&mut self, id: DeviceId, accepted: &Accepted) -> Result<(), Error> {
        let transaction = self.write()?;
        let sql = "UPDATE device SET standing = 'enrolled', certificate = ?, key_set = ?, key_set_version = key_set_version + 1, answer = ? WHERE id = ? AND standing = 'claimed'";
        transaction.execute(
            sql,
            params![
                accepted.certificate,
                accepted.key_set,
                accepted.envelope,
                id.0
            ],
        )?;
        tell(&transaction, id, None, NewsKind::Enrolled, "")?;
        transaction.commit()?;
        Ok(())
    }

    /// Puts a phone out: nothing of it is believed any more, its open orders end. Done twice, it is as done once.
    pub(crate) fn revoked(&mut self, id: DeviceId) -> Result<(), Error> {
        let transaction = self.write()?;
        let changed = transaction.execute(
            "UPDATE device SET standing = 'revoked', secret = NULL, answer = NULL, revoked_at = ? WHERE id = ? AND standing <> 'revoked'",
            params![UnixMs::now().0, id.0],
        )?;
        if changed > 0 {
            tell(&transaction, id, None, NewsKind::Revoked, "")?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Whether a claim came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstClaim {
    /// It did and is stored.
    Stored,
    /// Another was stored before.
    ThereWasOne,
}
