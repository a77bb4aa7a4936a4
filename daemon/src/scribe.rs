//! Turns what was decided into signed, sealed bytes with this phone's keys. It must not decide what is said, nor to whom.

use homing_policy::Outgoing;
use homing_protocol::Malformed;
use homing_protocol::beacon::{Beacon, Status};
use homing_protocol::certificate::DeviceKeys;
use homing_protocol::enrolment::Claim;
use homing_protocol::envelope::Address;
use homing_protocol::keys::SigningKey;
use homing_protocol::readers::{KeySet, Reads};
use homing_protocol::receipt::{Detail, Receipt, Signed};
use homing_protocol::report::Report;

use crate::keystore::{Identity, randomness};
use crate::wallclock;

/// The phone's pen.
#[derive(Debug)]
pub struct Scribe {
    /// Whose messages.
    pub address: Address,
    /// The enrolment epoch.
    pub epoch: u32,
    /// Who may read them.
    pub readers: KeySet,
    agent: SigningKey,
}

impl Scribe {
    /// A pen with these readers.
    #[must_use]
    pub fn new(identity: &Identity, readers: KeySet) -> Self {
        Self {
            address: identity.bundle.address,
            epoch: identity.bundle.epoch,
            readers,
            agent: identity.agent.clone(),
        }
    }

    /// Signs a receipt behind the chain's head `previous`; anything else than a receipt is [`Malformed::Format`].
    ///
    /// # Errors
    /// [`Malformed`] when the readers' keys are unusable.
    pub fn receipt(&self, outgoing: &Outgoing, previous: [u8; 32]) -> Result<Signed, Malformed> {
        let Outgoing::Receipt {
            counter,
            command,
            session,
            seq,
            state,
            refusal,
            text,
            report,
            attestation,
        } = outgoing
        else {
            return Err(Malformed::Format);
        };
        let receipt = Receipt {
            address: self.address,
            epoch: self.epoch,
            command: *command,
            session: *session,
            seq: *seq,
            state: *state,
            counter: *counter,
            previous,
        };
        let detail = Detail {
            time_unix_s: wallclock::unix_s(),
            refusal: *refusal,
            text: text.clone(),
            report: *report,
            attestation: *attestation,
        };
        receipt.sign(
            &detail,
            &self.agent,
            &self.readers.keys(Reads::Status),
            &mut randomness(),
        )
    }

    /// Signs a report of up to 32 positions.
    ///
    /// # Errors
    /// As [`Self::receipt`].
    pub fn report(
        &self,
        first: u64,
        positions: Vec<homing_protocol::measure::Position>,
    ) -> Result<Vec<u8>, Malformed> {
        let report = Report {
            address: self.address,
            epoch: self.epoch,
            first,
            positions,
        };
        report.sign(
            &self.agent,
            &self.readers.keys(Reads::Positions),
            &mut randomness(),
        )
    }

    /// Signs a beacon.
    ///
    /// # Errors
    /// As [`Self::receipt`].
    pub fn beacon(&self, beacon: &Beacon, status: &Status) -> Result<Vec<u8>, Malformed> {
        beacon.sign(
            status,
            &self.agent,
            &self.readers.keys(Reads::Status),
            &mut randomness(),
        )
    }
}

/// Signs a claim of the bundle in an identity.
///
/// # Errors
/// [`Malformed`] when the owner's key in the bundle is unusable.
pub fn claim(identity: &Identity, model: &str) -> Result<Vec<u8>, Malformed> {
    let keys: DeviceKeys = identity.public();
    let bundle = &identity.bundle;
    let claim = Claim {
        address: bundle.address,
        epoch: bundle.epoch,
        keys,
        consent_at: identity.consent_at,
        retention_days: identity.retention_days,
        model: model.chars().filter(|c| !c.is_control()).take(60).collect(),
    };
    claim.seal(
        &identity.agent,
        &bundle.owner,
        &bundle.secret,
        &mut randomness(),
    )
}
