//! The exchange over a broker in memory, against a phone played with the protocol's own words.
mod keyrings;
mod listening;
mod lost;

use super::*;
use crate::pretend::{Pretended, PretendedPhone, household, kind, message};
use crate::store::{NewsKind, Origin, Standing};
use homing_link::loopback::{Hub, Loopback};
use homing_protocol::Refusal;
use homing_protocol::command::Op;
use homing_protocol::envelope::MessageType;
use homing_protocol::receipt::{CommandState, Detail};
use homing_protocol::topic::Channel;

/// Longest time a test waits for anything.
const DEADLINE: Duration = Duration::from_secs(10);

fn exchange(
    house: &Pretended,
    hub: &Hub,
    name: &str,
    acceptance: Acceptance,
) -> Exchange<Loopback> {
    let store = house.store();
    let filters = subscriptions(&store.account().expect("account"));
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    Exchange::over(hub.connect(name, &filters), store, acceptance).expect("started")
}

/// Turns until the phone has received a message.
async fn at_phone(exchange: &mut Exchange<Loopback>, phone: &mut Loopback) -> Vec<u8> {
    tokio::select! {
        payload = message(phone) => payload,
        () = async { loop { exchange.turn(Instant::now() + DEADLINE).await.expect("turn"); } } => unreachable!("turns for ever"),
    }
}

async fn until(
    exchange: &mut Exchange<Loopback>,
    what: &str,
    mut done: impl FnMut(&Store) -> bool,
) {
    let found = exchange
        .until(DEADLINE, |it| Ok(done(&it.store).then_some(())))
        .await
        .expect("turns");
    assert!(found.is_some(), "{what}");
}

fn state(store: &Store, id: CommandId) -> State {
    store.order(id).expect("order").progress.state()
}

#[tokio::test]
async fn an_order_waits_for_a_beacon_quotes_it_and_ends_with_the_phones_word() {
    let mut house = household();
    house.enrol();
    let hub = Hub::new();
    let mut phone = house.phone.connect(&hub);
    let mut owner = exchange(&house, &hub, "owner", Acceptance::Locked);
    let id = house.order(Op::Locate { search_s: 60 });
    let answer = at_phone(&mut owner, &mut phone).await;
    assert_eq!(
        kind(&answer),
        Some(MessageType::Enrolment),
        "the answer to the claim comes first"
    );
    assert_eq!(
        state(&owner.store, id),
        State::Queued,
        "no beacon, no order"
    );

    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, house.phone.beacon(1, Vec::new(), 1)),
    );
    let bytes = at_phone(&mut owner, &mut phone).await;
    let command = house.phone.verify(&bytes, &house.authority());
    assert_eq!(
        (command.id, command.beacon.map(|beacon| beacon.counter)),
        (id, Some(1))
    );

    for (phone_says, shown) in [
        (CommandState::Running, State::Running),
        (CommandState::Done, State::Done),
    ] {
        let bytes = house
            .phone
            .receipt(&command, phone_says, &Detail::default());
        hub.inject(&house.phone.publication(Channel::Receipt, bytes));
        until(&mut owner, "the step", |store| state(store, id) == shown).await;
    }
    let steps: Vec<_> = owner
        .store
        .order(id)
        .expect("order")
        .progress
        .steps()
        .iter()
        .map(|step| step.state)
        .collect();
    assert_eq!(
        steps,
        [
            State::Queued,
            State::Sent,
            State::Delivered,
            State::Running,
            State::Done
        ]
    );
}

/// A phone that has joined and shown itself, and an owner who has just connected.
async fn joined(house: &Pretended, hub: &Hub) -> (Exchange<Loopback>, Loopback) {
    house.enrol();
    let phone = house.phone.connect(hub);
    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, house.phone.beacon(1, Vec::new(), 1)),
    );
    let mut owner = exchange(house, hub, "owner", Acceptance::Locked);
    let device = house.device();
    until(&mut owner, "the beacon", |store| {
        store.beacon(device).expect("asked").is_some()
    })
    .await;
    (owner, phone)
}

/// The next order at the phone; whatever else comes before it is passed over.
async fn order_at_phone(owner: &mut Exchange<Loopback>, link: &mut Loopback) -> Vec<u8> {
    loop {
        let bytes = at_phone(owner, link).await;
        if kind(&bytes) == Some(MessageType::Command) {
            return bytes;
        }
    }
}

#[tokio::test]
async fn a_refused_number_is_signed_again_under_the_same_id() {
    let mut house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let id = house.order(Op::Ring { for_s: 5 });
    let first = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    let detail = Detail {
        refusal: Some(Refusal::SeqTooOld),
        ..Detail::default()
    };
    let bytes = house.phone.receipt(&first, CommandState::Refused, &detail);
    hub.inject(&house.phone.publication(Channel::Receipt, bytes));
    let second = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    assert_eq!((first.id, second.id), (id, id));
    assert!(second.seq > first.seq);
    assert!(!state(&owner.store, id).is_final());
}

#[tokio::test]
async fn an_order_that_was_answered_busy_stays_open_and_is_not_signed_again_at_once() {
    let mut house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let id = house.order(Op::Ring { for_s: 5 });
    let first = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    until(&mut owner, "the broker's word", |store| {
        state(store, id) == State::Sent
    })
    .await;
    let detail = Detail {
        refusal: Some(Refusal::Busy),
        ..Detail::default()
    };
    let bytes = house.phone.receipt(&first, CommandState::Refused, &detail);
    hub.inject(&house.phone.publication(Channel::Receipt, bytes));
    until(&mut owner, "the answer", |store| {
        state(store, id) == State::Queued
    })
    .await;
    // Another order goes out, and this one still waits.
    let _ = house.order(Op::Status);
    let next = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    assert_eq!(
        (next.op, state(&owner.store, id)),
        (Op::Status, State::Queued)
    );
}

#[tokio::test]
async fn a_broker_that_forgets_everything_gets_the_order_again() {
    let house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let id = house.order(Op::Ring { for_s: 5 });
    let first = order_at_phone(&mut owner, &mut link).await;
    hub.forget_everything();
    for client in ["owner", "phone"] {
        hub.admit(client);
    }
    let second = order_at_phone(&mut owner, &mut link).await;
    assert_eq!(first, second, "the very same bytes: the phone knows them");
    assert_eq!(house.phone.verify(&second, &house.authority()).id, id);
}

#[tokio::test]
async fn an_older_authority_list_is_renewed_before_anything_else() {
    let house = household();
    house.enrol();
    let hub = Hub::new();
    let mut link = house.phone.connect(&hub);
    let _ = house.order(Op::Status);
    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, house.phone.beacon(1, Vec::new(), 0)),
    );
    let mut owner = exchange(&house, &hub, "owner", Acceptance::Locked);
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Some(MessageType::Command)) {
        kinds.push(kind(&at_phone(&mut owner, &mut link).await));
    }
    assert!(kinds.contains(&Some(MessageType::Authority)), "{kinds:?}");
}

#[tokio::test]
async fn the_first_claim_joins_and_a_second_one_is_an_alarm() {
    let house = household();
    let hub = Hub::new();
    let mut link = house.phone.connect(&hub);
    let acceptance = Acceptance::Only(house.device(), Box::new(house.account.clone()));
    let mut owner = exchange(&house, &hub, "owner", acceptance);
    let claim = house.phone.claim(&house.invitation, &house.client);
    hub.inject(&house.phone.publication(Channel::Enrol, claim));
    // The renewed keyring goes elsewhere; the phone hears its answer.
    assert_eq!(
        kind(&at_phone(&mut owner, &mut link).await),
        Some(MessageType::Enrolment)
    );
    let device = house.device();
    let row = owner.store.device(device).expect("asked").expect("known");
    assert_eq!(
        (row.standing, row.fingerprint),
        (Standing::Enrolled, house.phone.keys.fingerprint())
    );

    let thief = PretendedPhone::new(house.invitation.address, Vec::new());
    let rival = thief.claim(&house.invitation, &house.client);
    for _ in 0..2 {
        hub.inject(&house.phone.publication(Channel::Enrol, rival.clone()));
    }
    until(&mut owner, "the alarm", |store| {
        !store.alarms(device).expect("asked").is_empty()
    })
    .await;
    let alarms = owner.store.alarms(device).expect("asked");
    assert_eq!(
        (alarms[0].kind, &alarms[0].detail),
        (NewsKind::RivalClaim, &thief.keys.fingerprint())
    );
    let row = owner.store.device(device).expect("asked").expect("known");
    assert_eq!(row.fingerprint, house.phone.keys.fingerprint());
}

#[tokio::test]
async fn stored_positions_are_confirmed_up_to_the_first_gap_and_again_when_asked() {
    let house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let list = house.authority();
    for ((first, length), through) in [((1, 3), 3), ((1, 3), 3), ((6, 1), 3), ((4, 2), 6)] {
        hub.inject(
            &house
                .phone
                .publication(Channel::Report, house.phone.report(first, length)),
        );
        if first == 6 {
            let device = house.device();
            until(&mut owner, "the report", |store| {
                store.report(device, Some(6)).expect("asked").is_some()
            })
            .await;
            continue;
        }
        loop {
            let bytes = at_phone(&mut owner, &mut link).await;
            if kind(&bytes) == Some(MessageType::ReportAck) {
                assert_eq!(house.phone.acknowledged(&bytes, &list), Some(through));
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_signed_leaves_no_trace() {
    let mut house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let id = house.order(Op::Ring { for_s: 5 });
    let command = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    until(&mut owner, "sent", |store| state(store, id) == State::Sent).await;
    let news = owner.store.newest_news().expect("asked");

    let mut forger = PretendedPhone::new(
        house.invitation.address,
        vec![house.client.reading.public()],
    );
    let forged = forger.receipt(&command, CommandState::Done, &Detail::default());
    hub.inject(&house.phone.publication(Channel::Receipt, forged));
    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, forger.beacon(99, Vec::new(), 1)),
    );
    hub.inject(
        &house
            .phone
            .publication(Channel::Report, forger.report(1, 1)),
    );
    hub.inject(&house.phone.publication(Channel::Receipt, vec![0; 4_096]));
    hub.inject(&house.phone.publication(Channel::Receipt, Vec::new()));
    // What comes after them shows that they were seen.
    let genuine = house
        .phone
        .receipt(&command, CommandState::Running, &Detail::default());
    hub.inject(&house.phone.publication(Channel::Receipt, genuine));
    until(&mut owner, "running", |store| {
        state(store, id) == State::Running
    })
    .await;
    let kinds: Vec<_> = owner
        .store
        .news_after(news)
        .expect("asked")
        .iter()
        .map(|news| news.kind)
        .collect();
    assert_eq!(
        kinds,
        [NewsKind::State, NewsKind::State],
        "delivered, running, nothing else"
    );
}

#[tokio::test]
async fn an_order_of_another_process_is_delivered_by_the_one_that_stays() {
    let house = household();
    let hub = Hub::new();
    let (mut watch, mut link) = joined(&house, &hub).await;
    until(&mut watch, "quiet", |_| true).await;
    // Queued through a connection of its own, as a call that could not reach the broker leaves it.
    let id = house.order(Op::Status);
    let command = house.phone.verify(
        &order_at_phone(&mut watch, &mut link).await,
        &house.authority(),
    );
    assert_eq!(command.id, id);
}

#[tokio::test]
async fn a_beacon_that_is_played_again_is_no_contact() {
    let house = household();
    let hub = Hub::new();
    let (mut owner, _phone) = joined(&house, &hub).await;
    let device = house.device();
    let row = owner.store.device(device).expect("asked").expect("known");
    let phone = row
        .phone(owner.account.id, &owner.account.root)
        .expect("certified")
        .expect("joined");
    let old = house.phone.beacon(1, Vec::new(), 1);
    let heard = phone
        .hear_beacon(&old, &owner.account.client.reading)
        .expect("genuine");
    let first = row.last_contact.expect("it was heard");
    let later = UnixMs(first.0 + 3_600_000);
    // The broker chooses whether it says that it had kept the message.
    for origin in [Origin::Live, Origin::Retained] {
        owner
            .store
            .heard_beacon(device, &heard, &old, origin, later)
            .expect("taken in");
        let row = owner.store.device(device).expect("asked").expect("known");
        assert_eq!(row.last_contact, Some(first), "{origin:?}");
    }
}

#[tokio::test]
async fn a_phone_that_counts_from_below_again_is_an_alarm_and_a_late_beacon_is_none() {
    let house = household();
    let hub = Hub::new();
    let (mut owner, _phone) = joined(&house, &hub).await;
    let device = house.device();
    let row = owner.store.device(device).expect("asked").expect("known");
    let phone = row
        .phone(owner.account.id, &owner.account.root)
        .expect("certified")
        .expect("joined");
    let start = UnixMs::now().0 / 1_000;
    for (counter, made_s, alarms) in [(9, 60, 0), (8, 30, 0), (2, 120, 1), (3, 180, 1)] {
        let bytes = house.phone.beacon(counter, Vec::new(), 1);
        let mut heard = phone
            .hear_beacon(&bytes, &owner.account.client.reading)
            .expect("genuine");
        let status = heard.status.as_mut().expect("readable");
        status.clock = homing_protocol::beacon::ClockTrust::Synchronised;
        let made_s = start - 600 + made_s;
        status.time_unix_s = u64::try_from(made_s).expect("positive");
        let at = UnixMs((made_s + 1) * 1_000);
        // What `joined` heard counts as older than all of these.
        owner
            .store
            .contact_was(
                device,
                UnixMs((start - 600) * 1_000 + if counter == 9 { 0 } else { 60_000 }),
            )
            .expect("set");
        owner
            .store
            .heard_beacon(device, &heard, &bytes, Origin::Live, at)
            .expect("taken in");
        let told = owner.store.alarms(device).expect("asked");
        assert_eq!(told.len(), alarms, "beacon {counter}");
    }
}
