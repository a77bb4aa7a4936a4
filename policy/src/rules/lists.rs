//! Lists that ROOT signed: higher versions replace lower ones, and one version has one content. Report acknowledgements only ever rise.

use super::resume;
use crate::decision::{Decision, Effect};
use crate::record::Record;
use crate::state::State;
use homing_protocol::Refusal;
use homing_protocol::authority::Capabilities;

/// How an arriving version stands to the one in force.
fn compare(ours: &(u64, Vec<u8>), version: u64, signed: &[u8]) -> Result<bool, Refusal> {
    match version.cmp(&ours.0) {
        std::cmp::Ordering::Greater => Ok(true),
        std::cmp::Ordering::Equal if signed == ours.1 => Ok(false),
        std::cmp::Ordering::Equal => Err(Refusal::Forked),
        std::cmp::Ordering::Less => Err(Refusal::Stale),
    }
}

pub(super) fn authority(state: &State, version: u64, signed: &[u8], decision: &mut Decision) {
    match compare(&state.authority, version, signed) {
        Ok(true) => {
            decision.record(Record::Authority {
                version,
                signed: signed.to_vec(),
            });
            decision.effect(Effect::AuthorityChanged);
            decision.effect(Effect::BeaconSoon);
        }
        Ok(false) => {}
        Err(refusal) => decision.count_refusal(refusal),
    }
}

pub(super) fn key_set(state: &State, version: u64, signed: &[u8], decision: &mut Decision) {
    match compare(&state.key_set, version, signed) {
        Ok(true) => {
            decision.record(Record::KeySet {
                version,
                signed: signed.to_vec(),
            });
            decision.effect(Effect::ReadersChanged);
            decision.effect(Effect::BeaconSoon);
        }
        Ok(false) => {}
        Err(refusal) => decision.count_refusal(refusal),
    }
}

pub(super) fn reports_stored(
    state: &State,
    through: u64,
    rights: Capabilities,
    decision: &mut Decision,
) {
    if through > state.reports {
        // A reader has stored what this phone has not made: its state was set back.
        decision.count_refusal(Refusal::BadParameter);
        resume::noticed(state, 0, rights, decision);
    } else if through > state.reports_stored {
        decision.record(Record::ReportsStored { through });
    }
}
