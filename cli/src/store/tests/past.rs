//! What comes late: a receipt of a past that the phone has lost, and the word of a phone that was thought to have left.
use super::*;
use crate::pretend::{Pretended, any_command};
use homing_owner::delivery::Witness;
use homing_owner::phone::Phone;
use homing_protocol::beacon::Status;
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState;

fn certified(house: &Pretended) -> (Phone, homing_protocol::keys::KemSecret) {
    let account = house.store().account().expect("account");
    let row = house.store().device(house.device()).expect("asked");
    let phone = row.expect("known").phone(account.id, &account.root);
    let phone = phone.expect("certified").expect("joined");
    (phone, account.client.reading)
}

/// Lets a beacon in that says something else as well.
fn beacon_says(house: &Pretended, counter: u64, says: impl FnOnce(&mut Status)) {
    let (phone, reading) = certified(house);
    let bytes = house.phone.beacon_that_says(counter, Vec::new(), 1, says);
    let heard = phone.hear_beacon(&bytes, &reading).expect("genuine");
    let mut store = house.store();
    store
        .heard_beacon(house.device(), &heard, &bytes, Origin::Live, UnixMs::now())
        .expect("taken in");
}

fn receipt_comes(house: &Pretended, bytes: &[u8]) {
    let (phone, reading) = certified(house);
    let answer = phone.hear_receipt(bytes, &reading).expect("genuine");
    let mut store = house.store();
    store
        .heard_receipt(house.device(), &answer, bytes, UnixMs::now())
        .expect("stored");
}

/// The states that an order went through, and who said the last.
fn way(house: &Pretended, id: CommandId) -> (Vec<State>, Witness) {
    let progress = house.store().order(id).expect("known").progress;
    let states = progress.steps().iter().map(|step| step.state).collect();
    let last = progress.steps().last().map(|step| step.witness);
    (states, last.expect("a step"))
}

fn signed(house: &Pretended, op: Op) -> CommandId {
    let id = house.order(op);
    house.store().sign(id, |_| Ok(vec![1])).expect("signed");
    id
}

#[test]
fn a_late_receipt_of_a_lost_past_ends_its_open_order_and_changes_nothing_else() {
    let mut house = household();
    house.enrol();
    let (rung, begun) = (
        signed(&house, Op::Ring { for_s: 5 }),
        signed(&house, Op::Locate { search_s: 60 }),
    );
    let receipt = |house: &mut Pretended, id, state| {
        let command = homing_protocol::command::Command {
            id,
            ..any_command(house)
        };
        house.phone.receipt(&command, state, &Default::default())
    };
    // Two receipts are made and held up; the beacon that counts them arrives.
    let done = receipt(&mut house, rung, CommandState::Done);
    let running = receipt(&mut house, begun, CommandState::Running);
    beacon_says(&house, 1, |_| {});
    beacon_says(&house, 2, |_| {});
    // The phone is set back, knows of it, and is let count on.
    beacon_says(&house, 3, |status| status.set_back = Some(2));
    let lost = house.store().set_back(house.device()).expect("asked");
    assert_eq!(lost.expect("noticed").number, 2);
    let mut store = house.store();
    let transaction = store.write().expect("transaction");
    crate::store::past::resumed(&transaction, house.device()).expect("resumed");
    transaction.commit().expect("committed");
    drop(store);
    assert!(
        house
            .store()
            .set_back(house.device())
            .expect("asked")
            .is_none()
    );

    for _ in 0..2 {
        receipt_comes(&house, &done);
        receipt_comes(&house, &running);
    }
    let (states, witness) = way(&house, rung);
    assert_eq!(states, [State::Queued, State::Delivered, State::Done]);
    assert_eq!(witness, Witness::Phone);
    // What was only begun in that past goes on waiting for an answer of the present.
    assert_eq!(way(&house, begun).0, [State::Queued]);
    assert_eq!(house.store().outbox().expect("outbox").len(), 1);
    assert!(
        house
            .store()
            .chain(house.device())
            .expect("asked")
            .is_empty()
    );
}

#[test]
fn a_phone_that_says_goodbye_and_is_there_after_all_gets_its_orders() {
    let mut house = household();
    house.enrol();
    beacon_says(&house, 1, |_| {});
    let (sent, unsent) = (signed(&house, Op::Status), house.order(Op::Status));
    let other = house.order(Op::Status);
    house
        .store()
        .conclude(other, State::Cancelled, "by hand")
        .expect("ended");
    beacon_says(&house, 2, |status| status.left_at = Some(7));
    for id in [sent, unsent] {
        let (states, witness) = way(&house, id);
        assert_eq!(
            (states, witness),
            (vec![State::Queued, State::Cancelled], Witness::Owner)
        );
    }
    assert_eq!(
        house.store().alarms(house.device()).expect("asked").len(),
        1
    );
    // It was cut off while it left: its next beacon says so.
    beacon_says(&house, 3, |_| {});
    beacon_says(&house, 4, |_| {});
    assert!(
        house
            .store()
            .alarms(house.device())
            .expect("asked")
            .is_empty()
    );
    let open: Vec<_> = house.store().outbox().expect("outbox");
    assert_eq!(open.len(), 2, "what was ended by hand stays so");
    assert!(open.iter().all(|row| row.envelope.is_none()));
    let again = [State::Queued, State::Cancelled, State::Queued];
    assert_eq!(way(&house, unsent).0, again);
    // And they end once, as the phone says.
    let command = homing_protocol::command::Command {
        id: sent,
        ..any_command(&house)
    };
    let bytes = house
        .phone
        .receipt(&command, CommandState::Done, &Default::default());
    receipt_comes(&house, &bytes);
    assert_eq!(way(&house, sent).0.last(), Some(&State::Done));
}

#[test]
fn orders_to_a_phone_that_has_left_end_when_it_joins_again_and_stay_so() {
    let house = household();
    house.enrol();
    beacon_says(&house, 1, |status| status.left_at = Some(7));
    let meanwhile = house.order(Op::Status);
    let row = house.store().device(house.device()).expect("asked");
    let certificate = row.expect("known").certificate;
    let again = homing_owner::enrol::Invitation {
        epoch: 2,
        ..house.invitation.clone()
    };
    house
        .store()
        .invite_again(&again, &[2; 16])
        .expect("invited");
    let news = house.store().news_after(0).expect("news");
    let told = news.iter().rfind(|news| news.command == Some(meanwhile));
    assert_eq!(
        told.map(|news| news.detail.as_str()),
        Some("cancelled the phone is enrolled again")
    );
    // Its first beacon in the new enrolment opens nothing again.
    let store = house.store();
    let sql = "UPDATE device SET standing = 'enrolled', certificate = ?, epoch = 1";
    store.connection.execute(sql, [certificate]).expect("set");
    beacon_says(&house, 1, |_| {});
    assert!(house.store().outbox().expect("outbox").is_empty());
}

#[test]
fn a_clock_that_leaps_forgets_no_position_before_it_has_gone_on_for_a_day() {
    const HOUR_MS: i64 = 3_600_000;
    let house = household();
    house.enrol();
    let now = UnixMs::now().0;
    let store = house.store();
    report_comes(&house, 1, 2, UnixMs(now));
    let keeps = |hours: i64| {
        let at = UnixMs(now + hours * HOUR_MS);
        store.forget_old_positions(at).expect("looked");
        let found = store.report(house.device(), Some(1));
        found.expect("asked").is_some()
    };
    let year = 365 * 24;
    // A year ahead and back, as after an empty battery: nothing is gone.
    assert!(keeps(year) && keeps(year + 12) && keeps(0) && keeps(12));
    // Time that goes by itself, a year of it, is believed.
    assert!(keeps(year) && keeps(year + 23));
    assert!(!keeps(year + 25));
}
