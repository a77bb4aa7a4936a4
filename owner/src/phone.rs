//! One enrolled phone as its owner knows it: verifies and opens what it says. Believes nothing that DEV_SIG did not sign, and remembers nothing.
use crate::Error;
use crate::delivery::{State, Step, UnixMs, Witness};
use homing_protocol::beacon::{Beacon, Status};
use homing_protocol::certificate::{DeviceCertificate, DeviceKeys};
use homing_protocol::envelope::Address;
use homing_protocol::id::{ClientId, SessionId};
use homing_protocol::keys::{KemSecret, VerifyingKey};
use homing_protocol::lost::Outcome;
use homing_protocol::receipt::{CommandState, Detail, Receipt};
use homing_protocol::report::Report;
use homing_protocol::{Malformed, Refusal};

use crate::resend::Seen;

/// A phone of the account, as its device certificate names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phone {
    /// Account and device id.
    pub address: Address,
    /// Enrolment number; messages of another one are not believed.
    pub epoch: u32,
    /// DEV_SIG, DEV_KEM and ACT_SIG.
    pub keys: DeviceKeys,
}

/// A verified beacon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The clear part.
    pub beacon: Beacon,
    /// The sealed part; `None` when this client is not yet among the phone's readers.
    pub status: Option<Status>,
}

/// A verified receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The clear part.
    pub receipt: Receipt,
    /// The sealed part; `None` when this client is not yet among the phone's readers.
    pub detail: Option<Detail>,
    /// What the phone's privileged half says it did, by its own signature; what DEV_SIG alone says of it is not here.
    pub attested: Option<Outcome>,
    /// Head of the receipt chain after it.
    pub head: [u8; 32],
}

impl Phone {
    /// The phone of a ROOT-signed device certificate.
    ///
    /// # Errors
    /// [`Error::Stored`].
    pub fn certified(bytes: &[u8], root: &VerifyingKey, address: &Address) -> Result<Self, Error> {
        let certificate = DeviceCertificate::verify(bytes, root, address).map_err(Error::Stored)?;
        Ok(Self {
            address: *address,
            epoch: certificate.epoch,
            keys: certificate.keys,
        })
    }

    /// Verifies a beacon and opens its status with this client's reading key.
    ///
    /// # Errors
    /// [`Error::Hear`].
    pub fn hear_beacon(&self, bytes: &[u8], reader: &KemSecret) -> Result<Heard, Error> {
        let (beacon, sealed) =
            Beacon::verify(bytes, &self.address, &self.keys.agent).map_err(Error::Hear)?;
        self.same_epoch(beacon.epoch)?;
        Ok(Heard {
            beacon,
            status: opened(sealed.open(reader))?,
        })
    }

    /// Verifies a receipt and opens its detail with this client's reading key.
    ///
    /// # Errors
    /// [`Error::Hear`].
    pub fn hear_receipt(&self, bytes: &[u8], reader: &KemSecret) -> Result<Answer, Error> {
        let (receipt, sealed, head) =
            Receipt::verify(bytes, &self.address, &self.keys.agent).map_err(Error::Hear)?;
        self.same_epoch(receipt.epoch)?;
        let detail = opened(sealed.open(reader))?;
        let attested = detail
            .as_ref()
            .and_then(|detail| detail.attestation)
            .filter(|attestation| {
                let whose = (&self.address, self.epoch);
                let about = receipt.command;
                attestation.verify(&self.keys.actor, whose, about).is_ok()
            })
            .map(|attestation| attestation.outcome);
        Ok(Answer {
            receipt,
            detail,
            attested,
            head,
        })
    }

    /// Verifies and opens a report with this client's reading key.
    ///
    /// # Errors
    /// [`Error::Hear`].
    pub fn hear_report(&self, bytes: &[u8], reader: &KemSecret) -> Result<Report, Error> {
        let report = Report::open(bytes, &self.address, &self.keys.agent, reader);
        let report = report.map_err(Error::Hear)?;
        self.same_epoch(report.epoch)?;
        Ok(report)
    }

    const fn same_epoch(&self, epoch: u32) -> Result<(), Error> {
        if epoch == self.epoch {
            Ok(())
        } else {
            Err(Error::Hear(Malformed::Misdirected))
        }
    }
}

/// A part sealed to other readers only is no fault: the key set that names this client may still be on its way.
fn opened<T>(part: Result<T, Malformed>) -> Result<Option<T>, Error> {
    match part {
        Ok(part) => Ok(Some(part)),
        Err(Malformed::Seal) => Ok(None),
        Err(fault) => Err(Error::Hear(fault)),
    }
}

/// What a beacon says about a number of this client's sequence space.
#[must_use]
pub fn seen(beacon: &Beacon, client: ClientId, session: SessionId, seq: u64) -> Seen {
    let window = beacon
        .windows
        .iter()
        .find(|window| window.client == client && window.session == session);
    match window {
        Some(window) if window.has_seen(seq) => Seen::Yes,
        Some(_) => Seen::No,
        // A beacon shows only the newest spaces: not being among many proves nothing.
        None if beacon.windows.len() >= homing_protocol::beacon::MOST_WINDOWS => Seen::Unknown,
        None => Seen::No,
    }
}

/// What a receipt means for its command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Meaning {
    /// The command takes this step.
    Step(Step),
    /// The phone asks for a new signature under the same command id: with a new number, and for `unknown-beacon` with its newest beacon, for `need-authority` after the authority list, for `busy` after a while.
    SignAgain(Refusal),
}

impl Answer {
    /// Reads the receipt of an order that only the privileged half carries out: what that half has not attested has not
    /// happened, whatever the agent says.
    pub fn attested_meaning(&self, at: UnixMs) -> Meaning {
        let fits = match (self.receipt.state, self.attested) {
            (CommandState::Running, Some(Outcome::Locked | Outcome::LockedInPart))
            | (
                CommandState::Done,
                Some(Outcome::EndedByOrder | Outcome::EndedByCode | Outcome::NothingToEnd),
            ) => true,
            (CommandState::Running | CommandState::Done, _) => false,
            _ => true,
        };
        if !fits {
            return self.unattested(at);
        }
        match (self.meaning(at), self.attested) {
            // What was done is the privileged half's word; what is still open of a phone that is locked in part, the agent's.
            (Meaning::Step(step), Some(outcome)) => {
                let detail = match outcome {
                    Outcome::LockedInPart => format!("{}: {}", outcome.words(), step.detail),
                    _ => outcome.words().to_owned(),
                };
                Meaning::Step(Step { detail, ..step })
            }
            (meaning, _) => meaning,
        }
    }

    fn unattested(&self, at: UnixMs) -> Meaning {
        Meaning::Step(Step {
            state: State::Delivered,
            at,
            witness: Witness::Phone,
            detail: format!(
                "{}, says the phone's agent; its privileged half does not",
                self.receipt.state.word()
            ),
        })
    }

    /// Reads the receipt; `at` is when it arrived. A refusal whose word this client cannot read ends the command: guessing might repeat it.
    pub fn meaning(&self, at: UnixMs) -> Meaning {
        let refusal = self.detail.as_ref().and_then(|detail| detail.refusal);
        if self.receipt.state == CommandState::Refused
            && let Some(
                again @ (Refusal::SeqTooOld
                | Refusal::UnknownBeacon
                | Refusal::NeedAuthority
                | Refusal::RolledBack
                | Refusal::Busy),
            ) = refusal
        {
            return Meaning::SignAgain(again);
        }
        let text = self.detail.as_ref().and_then(|detail| detail.text.clone());
        let word = refusal.map(|refusal| refusal.word());
        let detail = match (word, text) {
            (Some(word), Some(text)) => format!("{word}: {text}"),
            (Some(word), None) => word.to_owned(),
            (None, text) => text.unwrap_or_default(),
        };
        Meaning::Step(Step {
            state: state(self.receipt.state),
            at,
            witness: Witness::Phone,
            detail,
        })
    }
}

const fn state(state: CommandState) -> State {
    match state {
        CommandState::Accepted => State::Delivered,
        CommandState::Running => State::Running,
        CommandState::Done => State::Done,
        CommandState::Failed => State::Failed,
        CommandState::Refused => State::Refused,
        CommandState::Expired => State::Expired,
        CommandState::Superseded => State::Superseded,
        CommandState::Cancelled => State::Cancelled,
    }
}
