//! A phone that is enrolled again under a higher number: its former enrolment ends in one step, here and on every machine that hears of it. Issues no certificate.
use super::{DeviceRow, NewsKind, Store, news::tell, order, past};
use crate::error::Error;
use homing_owner::enrol::Invitation;
use homing_protocol::id::DeviceId;
use homing_protocol::topic::{Channel, Topic};
use rusqlite::{Transaction, params};

/// An enrolment ends: its keys, beacons, receipts and open orders belong to the past. The certificate that it used must come onto the revocation list.
fn end_enrolment(
    transaction: &Transaction<'_>,
    device: DeviceId,
    epoch: u32,
    tls_serial: &[u8],
) -> Result<(), Error> {
    order::cancel_open(transaction, device, "the phone is enrolled again")?;
    past::end_era(transaction, device, "again")?;
    for table in ["beacon_mark", "set_back"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE device = ?"), [device.0])?;
    }
    transaction.execute(
        "INSERT OR IGNORE INTO retired (serial) SELECT tls_serial FROM device WHERE id = ?1 AND tls_serial <> ?2",
        params![device.0, tls_serial],
    )?;
    transaction.execute(
        "UPDATE device SET standing = 'invited', epoch = ?1, tls_serial = ?2, secret = NULL, claim = NULL, certificate = x'',
           key_set = x'', answer = NULL, fingerprint = '', beacon = NULL, beacon_counter = 0, beacon_live_at = NULL,
           beacon_made_at = NULL, revoked_at = NULL, reports_from = 1, acknowledged = 0 WHERE id = ?3",
        params![epoch, tls_serial, device.0],
    )?;
    tell(
        transaction,
        device,
        None,
        NewsKind::InvitedAgain,
        &epoch.to_string(),
    )
}

/// Makes room for a certificate of a higher enrolment that another machine has brought about.
pub(super) fn meet_epoch(
    transaction: &Transaction<'_>,
    device: DeviceId,
    epoch: u32,
    tls_serial: &[u8],
) -> Result<(), Error> {
    let sql = "SELECT count(*) > 0 FROM device WHERE id = ? AND epoch < ?";
    if transaction.query_row(sql, params![device.0, epoch], |row| row.get(0))? {
        end_enrolment(transaction, device, epoch, tls_serial)?;
    }
    Ok(())
}

impl Store {
    /// Ends the present enrolment of a phone and invites it anew, in one step.
    pub(crate) fn invite_again(
        &mut self,
        invitation: &Invitation,
        tls_serial: &[u8],
    ) -> Result<(), Error> {
        let device = invitation.address.device;
        let transaction = self.write()?;
        end_enrolment(&transaction, device, invitation.epoch, tls_serial)?;
        // Only here: on another machine, which learns of it later, the broker may keep the new enrolment's already.
        for channel in [Channel::Beacon, Channel::Authority, Channel::Enrol] {
            transaction.execute(
                "INSERT OR IGNORE INTO unwanted (topic) VALUES (?)",
                [Topic::Device(device, channel).to_string()],
            )?;
        }
        transaction.execute(
            "UPDATE device SET secret = ? WHERE id = ?",
            params![invitation.secret.0.as_slice(), device.0],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Another machine has invited a phone anew: what is known here of its former enrolment ends.
    pub(crate) fn invited_elsewhere(
        &mut self,
        row: &DeviceRow,
        tls_serial: &[u8],
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        end_enrolment(&transaction, row.id, row.epoch + 1, tls_serial)?;
        transaction.commit()?;
        Ok(())
    }

    /// Serial numbers of certificates of former enrolments.
    pub(crate) fn retired_serials(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut statement = self.connection.prepare("SELECT serial FROM retired")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
