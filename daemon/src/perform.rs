//! Carries out what was decided and is durable. Every effect here is harmless to repeat; nothing here decides.

use std::time::Duration;

use homing_link::{Publication, Retention, Transport};
use homing_policy::{ActorAnswer, Effect, Event, SirenPhase};
use homing_protocol::actor::Answer;
use homing_protocol::authority::AuthorityList;
use homing_protocol::beacon::{Beacon, ListDigests, Status};
use homing_protocol::id::{BootId, CommandId};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind};
use homing_protocol::readers::KeySet;
use homing_protocol::topic::{Channel, Topic};

use crate::actor::ask::Went;
use crate::brain::{Brain, ask_again_after};
use crate::error::Error;
use crate::siren::intent::{self, Intent};
use crate::siren::report::{Phase, Report};
use crate::{boottime, process, wallclock};

/// How long nobody tries again to order the siren after that failed.
const SIREN_PAUSE: Duration = Duration::from_secs(1);

/// Does one thing.
///
/// # Errors
/// The journal's, or the siren's folder's.
pub(crate) fn perform<T: Transport>(brain: &mut Brain<T>, effect: Effect) -> Result<(), Error> {
    match effect {
        Effect::Search { command, search_s } => {
            brain
                .searcher
                .search(command, Duration::from_secs(search_s.into()));
            Ok(())
        }
        Effect::TrackSearch => {
            brain.searcher.track();
            Ok(())
        }
        Effect::ResendReports { first, last } => {
            brain.outbox.again(&brain.journal, first, last)?;
            brain.drain()
        }
        Effect::Sound {
            ring,
            boot,
            deadline_ms,
        } => {
            // The judge orders again each second until the siren answers.
            let ordered = sound(brain, ring, boot, deadline_ms);
            complain(brain, ordered);
            Ok(())
        }
        Effect::Silence => {
            let withdrawn = intent::withdraw(&brain.siren_folder);
            complain(brain, withdrawn);
            look_at_siren(brain)
        }
        Effect::HandOver { command } => {
            // What locks the phone has to be written down, too.
            brain.journal.make_room();
            if let Some(signed) = brain.state.handed(command) {
                let authority = &brain.state.authority.1;
                brain.privileged.hand_over(command, authority, signed);
            }
            Ok(())
        }
        Effect::PublishBeacon { counter } => publish_beacon(brain, counter),
        Effect::BeaconSoon => {
            brain.beacon_soon();
            Ok(())
        }
        Effect::AuthorityChanged => {
            let signed = &brain.state.authority.1;
            match AuthorityList::verify(signed, &brain.root, brain.address.account) {
                Ok(list) => brain.authority = list,
                Err(source) => {
                    return Err(Error::Damaged {
                        what: "the authority list in the journal".into(),
                        source,
                    });
                }
            }
            brain.unpark()
        }
        Effect::ReadersChanged => {
            match KeySet::verify(&brain.state.key_set.1, &brain.root, &brain.address) {
                Ok(set) => {
                    brain.journal.scribe.readers = set;
                    Ok(())
                }
                Err(source) => Err(Error::Damaged {
                    what: "the key set in the journal".into(),
                    source,
                }),
            }
        }
    }
}

/// Orders the siren, unless it serves this very order already: the same order twice must not start it anew.
fn sound<T: Transport>(
    brain: &mut Brain<T>,
    ring: CommandId,
    boot: BootId,
    deadline_ms: u64,
) -> Result<(), Error> {
    let now = boottime::now_ms()?;
    let order = Intent {
        command: ring.to_string(),
        boot_id: if boot == brain.boot {
            brain.boot_text.clone()
        } else {
            boot.to_string()
        },
        started_boottime_ms: now,
        deadline_boottime_ms: deadline_ms,
    };
    if let Ok(intent::Found::Intent(standing)) = intent::load(&brain.siren_folder)
        && standing.command == order.command
        && standing.boot_id == order.boot_id
    {
        return Ok(());
    }
    // A failed attempt stirs the folder that the agent is woken by: without a pause it would try without end.
    let now = boottime::now()?;
    if brain.siren_again.is_some_and(|at| now < at) {
        return Ok(());
    }
    brain.siren_again = Some(now + SIREN_PAUSE);
    brain.journal.make_room();
    tracing::info!("the siren is ordered for {ring}");
    order.store(&brain.siren_folder)?;
    brain.siren_again = None;
    Ok(())
}

/// Says once what is wrong with the siren's folder: another process writes there, and must not end this one.
fn complain<T>(brain: &mut Brain<T>, result: Result<(), Error>) {
    let fault = result.err().map(|error| error.to_string());
    if let Some(fault) = fault.as_ref().filter(|_| brain.siren_fault != fault) {
        tracing::error!("the siren's folder: {fault}");
    }
    if fault.is_some() {
        brain.siren_fault = fault;
    }
}

/// Tells the judge of a sound that is over, and of nothing else.
pub(crate) fn settle_siren<T: Transport>(brain: &mut Brain<T>) -> Result<(), Error> {
    match Report::load(&brain.siren_folder) {
        Ok(Some(report)) if report.phase == Phase::Ended => silent(brain, ring_of(&report)),
        // A damaged report is complained about when the siren is looked at.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn ring_of(report: &Report) -> CommandId {
    let command = report.command.as_deref().and_then(|id| id.parse().ok());
    command.unwrap_or(CommandId([0; 16]))
}

/// Tells the judge what the siren process last said.
pub(crate) fn look_at_siren<T: Transport>(brain: &mut Brain<T>) -> Result<(), Error> {
    let report = match Report::load(&brain.siren_folder) {
        // What sounded or failed before the phone's last start does so no more; an end is an end.
        Ok(report) => report
            .filter(|report| report.boot_id == brain.boot_text || report.phase == Phase::Ended),
        // No report, then: the judge ends what nobody reports.
        Err(error) => {
            complain(brain, Err(error));
            return Ok(());
        }
    };
    let ordered = match intent::load(&brain.siren_folder) {
        Ok(found) => found != intent::Found::Nothing,
        Err(error) => {
            complain(brain, Err(error));
            true
        }
    };
    let Some(report) = report else {
        // It never ran: without an order there is nothing to wait for.
        return if ordered {
            Ok(())
        } else {
            silent(brain, CommandId([0; 16]))
        };
    };
    let command = ring_of(&report);
    match report.phase {
        Phase::Sounding if ordered || process::runs(report.pid, report.started) => {
            brain.handle(&Event::Siren {
                command,
                phase: SirenPhase::Sounding,
            })?;
        }
        // Nobody is left to play, and no order stands that would start somebody.
        Phase::Sounding => silent(brain, command)?,
        Phase::Ended => {
            // An end at the deadline is of this ring; an older ring's end says nothing about a newer order.
            silent(brain, command)?;
        }
        Phase::Failed if ordered => {
            let why = report.reason.as_deref().unwrap_or("the siren cannot sound");
            brain.handle(&Event::Siren {
                command,
                phase: SirenPhase::Failing(why),
            })?;
        }
        Phase::Failed => silent(brain, command)?,
    }
    brain.drain()
}

/// Tells the judge what the privileged half said of a command.
pub(crate) fn take_answer<T: Transport>(
    brain: &mut Brain<T>,
    command: CommandId,
    answer: Result<Answer, String>,
) -> Result<(), Error> {
    let answer = answer.unwrap_or_else(Answer::Failed);
    let (answer, went) = match &answer {
        Answer::Outcome { attestation, text } => {
            let outcome = ActorAnswer::Outcome {
                attestation: *attestation,
                text: text.as_deref(),
            };
            (outcome, Went::Through)
        }
        Answer::Refused(refusal) => (ActorAnswer::Refused(*refusal), Went::Through),
        Answer::Failed(why) => (ActorAnswer::Failing(why), Went::Wrong),
        Answer::Challenge(_) | Answer::Code(_) | Answer::Standing { .. } => (
            ActorAnswer::Failing("it answered something else"),
            Went::Wrong,
        ),
    };
    if let ActorAnswer::Failing(why) = answer {
        tracing::warn!("the privileged half has not carried out {command}: {why}");
    }
    brain.privileged.answered(command, went);
    let is_told = match (went, &answer) {
        (Went::Wrong, ActorAnswer::Failing(why)) => {
            let times = brain.ask_again.map_or(0, |(_, times)| times) + 1;
            brain.ask_again = Some((boottime::now()? + ask_again_after(times), times));
            brain.failing.get(&command).map(String::as_str) == Some(*why)
        }
        _ => {
            brain.failing.remove(&command);
            // Another order may still have to be carried out.
            if brain.failing.is_empty() {
                brain.ask_again = None;
            }
            false
        }
    };
    if is_told {
        return Ok(());
    }
    if let ActorAnswer::Failing(why) = &answer {
        // Only what could be written down counts as told.
        let why = (*why).to_owned();
        brain.handle(&Event::Actor { command, answer })?;
        brain.failing.insert(command, why);
        return Ok(());
    }
    brain.handle(&Event::Actor { command, answer })
}

fn silent<T: Transport>(brain: &mut Brain<T>, command: CommandId) -> Result<(), Error> {
    brain.handle(&Event::Siren {
        command,
        phase: SirenPhase::Ended,
    })
}

fn publish_beacon<T: Transport>(brain: &mut Brain<T>, counter: u64) -> Result<(), Error> {
    let Some(mark) = brain
        .state
        .newest_beacon()
        .filter(|mark| mark.counter == counter)
    else {
        return Ok(());
    };
    let beacon = Beacon {
        address: brain.address,
        epoch: brain.epoch,
        counter,
        nonce: mark.nonce,
        boot: mark.boot,
        windows: brain.state.windows(),
        authority_version: brain.state.authority.0,
        key_set_version: brain.state.key_set.0,
        receipts: brain.state.receipts,
        receipt_chain: brain.journal.chain_head(),
        next_contact_s: boottime::now().map_or(0, |now| {
            u32::try_from(brain.beacon_at.saturating_sub(now).as_secs()).unwrap_or(u32::MAX)
        }),
    };
    let status = status(brain);
    let payload = brain
        .journal
        .scribe
        .beacon(&beacon, &status)
        .map_err(|source| Error::Damaged {
            what: "the list of readers".into(),
            source,
        })?;
    let topic = Topic::Device(brain.address.device, Channel::Beacon).to_string();
    if brain
        .transport
        .publish(Publication {
            topic,
            payload,
            retention: Retention::Retained,
        })
        .is_err()
    {
        // The next connection begins with a beacon of its own.
        tracing::debug!("beacon {counter} was not sent");
    }
    Ok(())
}

fn status<T: Transport>(brain: &mut Brain<T>) -> Status {
    let battery = brain.power.battery().unwrap_or(Battery {
        percent: None,
        charging: Charging::Unknown,
    });
    let path = brain.path();
    Status {
        time_unix_s: wallclock::unix_s(),
        clock: wallclock::trust(),
        battery,
        network: path.as_ref().map_or(NetworkKind::Unknown, |path| path.kind),
        metered: path.as_ref().map_or(Metered::Unknown, |path| path.metered),
        ring: brain.state.open_ring().map(|entry| entry.accepted.id),
        reports: brain.state.reports,
        // Counting unlocks needs the session's help; no rule of this version relies on it.
        presence: 0,
        free_mib: free_mib(&brain.settings.state_dir),
        refused: brain.refusals.total(),
        set_back: brain.state.set_back,
        left_at: None,
        lists: Some(ListDigests::of(
            &brain.state.authority.1,
            &brain.state.key_set.1,
        )),
        lost: brain.state.open_lost().map(|entry| entry.accepted.id),
    }
}

fn free_mib(folder: &std::path::Path) -> u32 {
    nix::sys::statvfs::statvfs(folder).map_or(0, |found| {
        // The fields are 32 or 64 bits wide, by architecture.
        let bytes = u128::from(found.blocks_available()) * u128::from(found.fragment_size());
        u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
    })
}
