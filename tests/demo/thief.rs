//! The thief of the tour: has the broker itself, hence reads and publishes what it likes. Has no key, and must not be helped to one.

use crate::household::{Household, PHONE};
use crate::stage::Stage;
use e2e::{Intruder, Message, PATIENCE, wait_until};
use serde_json::Value;
use std::time::Duration;

/// How often each attack is repeated.
const TRIES: usize = 5;

/// A thief replays a real order, bends it, and forges one; the phone counts and refuses them all, and stays silent.
pub(crate) fn refused(stage: &Stage, household: &mut Household) {
    stage.heading("5. A thief takes over the broker: records, replays, bends and forges orders");
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let mut tap = thief.listen(&["homing/v1/+/+/cmd"]);
    household.homing(stage, &["ring", PHONE, "--for", "1m"]);
    let recorded = tap.wait_for(PATIENCE, "the order on the wire", |_| true);
    household.sim.wait_heard(Duration::from_secs(60));
    household.homing(stage, &["ring", PHONE, "--stop"]);
    household.silence();
    stage.say(&format!(
        "The thief has recorded {} bytes from {}: {}…",
        recorded.payload.len(),
        recorded.topic,
        hex(&recorded.payload[..recorded.payload.len().min(16)])
    ));

    let before = refusals(household);
    for number in 0..TRIES {
        publish(&thief, &recorded, recorded.payload.clone());
        publish(&thief, &recorded, bent(&recorded.payload, number));
        publish(&thief, &recorded, forged(&recorded.payload, number));
    }
    stage.say(&format!("The thief has published it again {TRIES} times, {TRIES} times with a bit changed, and {TRIES} forgeries."));
    // A replay may count as refused or simply be answered again; what is bent or forged must be refused.
    let wanted = before + 2 * TRIES as u64;
    wait_until(
        PATIENCE,
        "the phone to refuse every bent and forged order",
        || {
            silent(household);
            (refusals(household) >= wanted).then_some(())
        },
    );
    let status = household
        .handset()
        .homingd(&["status", "--json"])
        .expect_success();
    stage.command("homingd status --json        # on the phone");
    stage.output(&format!("refused: {}", counters(&status.json())));
    stage.say("None had an effect. The owner's next order, which the phone handles after all of them, works:");
    household.homing(stage, &["locate", PHONE]);
    silent(household);
}

fn silent(household: &Household) {
    let siren = household.sim.siren();
    assert!(
        siren["heard"] == false,
        "the siren sounds: an attack had an effect: {siren}"
    );
}

fn publish(thief: &Intruder, recorded: &Message, payload: Vec<u8>) {
    thief
        .publish(&recorded.topic, &payload)
        .unwrap_or_else(|error| panic!("the thief's own broker refused: {error}"));
}

/// One bit changed, each time somewhere else, from the first byte to the last.
fn bent(order: &[u8], number: usize) -> Vec<u8> {
    let mut bytes = order.to_vec();
    let at = number * (bytes.len() - 1) / (TRIES - 1).max(1);
    bytes[at] ^= 1 << (number % 8);
    bytes
}

/// The outer header of a real order and bytes of the thief's own behind it: it looks right until it is opened.
fn forged(order: &[u8], number: usize) -> Vec<u8> {
    let header = order.len() / 8;
    order
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if at < header {
                *byte
            } else {
                u8::try_from((at * 31 + number * 7 + 1) % 256).unwrap_or(0)
            }
        })
        .collect()
}

/// The sum of what the phone says it has refused.
fn refusals(household: &Household) -> u64 {
    let status = household
        .handset()
        .homingd(&["status", "--json"])
        .expect_success()
        .json();
    sum(&counters(&status))
}

/// The part of `homingd status --json` that counts refusals since the agent's start, word by word.
fn counters(status: &Value) -> Value {
    let refused = &status["agent"]["refused"];
    assert!(
        refused.is_object(),
        "homingd status --json holds no agent.refused: {status}"
    );
    refused.clone()
}

fn sum(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Object(fields) => fields.values().map(sum).sum(),
        Value::Array(items) => items.iter().map(sum).sum(),
        _ => 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_attack_differs_from_the_order_and_from_the_others() {
        let order: Vec<u8> = (0..=255).cycle().take(600).collect();
        let mut all: Vec<Vec<u8>> = (0..TRIES).map(|number| bent(&order, number)).collect();
        all.extend((0..TRIES).map(|number| forged(&order, number)));
        assert!(
            all.iter()
                .all(|attack| attack.len() == order.len() && *attack != order)
        );
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 2 * TRIES);
    }

    #[test]
    fn refusals_are_summed_over_their_words() {
        assert_eq!(sum(&json!({"replayed": 5, "not-for-us": {"key-id": 2}})), 7);
    }
}
