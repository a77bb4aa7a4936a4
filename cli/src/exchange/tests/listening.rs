//! When an owner's client speaks although nobody ordered anything, and when an order waits for a list.
use super::*;

fn now_s() -> u64 {
    u64::try_from(UnixMs::now().0 / 1_000).expect("after 1970")
}

#[tokio::test]
async fn an_order_waits_until_the_phone_knows_our_lists_and_not_longer_than_a_minute() {
    for (age_s, waits) in [(0, true), (61, false)] {
        let house = household();
        house.enrol();
        let hub = Hub::new();
        let mut link = house.phone.connect(&hub);
        let id = house.order_of(Op::Status, now_s() - age_s);
        let old = house.phone.beacon(1, Vec::new(), 0);
        hub.inject(&house.phone.publication(Channel::Beacon, old));
        let mut owner = exchange(&house, &hub, "owner", Acceptance::Locked);
        let mut kinds = Vec::new();
        while !kinds.contains(&Some(MessageType::Authority)) {
            kinds.push(kind(&at_phone(&mut owner, &mut link).await));
        }
        if waits {
            until(&mut owner, "the list to be taken", |_| true).await;
            assert!(!kinds.contains(&Some(MessageType::Command)), "{kinds:?}");
            assert_eq!(state(&owner.store, id), State::Queued);
            let wakes = owner.look_at.0 - UnixMs::now().0;
            assert!(wakes <= 60_000, "it looks again after {wakes} ms");
            let new = house.phone.beacon(2, Vec::new(), 1);
            hub.inject(&house.phone.publication(Channel::Beacon, new));
        }
        let order = order_at_phone(&mut owner, &mut link).await;
        assert_eq!(house.phone.verify(&order, &house.authority()).id, id);
    }
}

/// The kinds of what reaches the phone until the owner has nothing more to say.
async fn said(owner: &mut Exchange<Loopback>, link: &mut Loopback) -> Vec<Option<MessageType>> {
    let mut kinds = Vec::new();
    loop {
        tokio::select! {
            bytes = message(link) => kinds.push(kind(&bytes)),
            settled = owner.until(DEADLINE, |it| Ok(it.is_quiet().then_some(()))) => {
                settled.expect("turns");
                // What was handed over is at the phone at once.
                match tokio::time::timeout(Duration::from_millis(20), message(link)).await {
                    Ok(bytes) => kinds.push(kind(&bytes)),
                    Err(_) => return kinds,
                }
            }
        }
    }
}

#[tokio::test]
async fn a_watch_with_nothing_to_send_speaks_once_and_again_while_receipts_are_missing() {
    let mut house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    owner.stay = Stay::Resident;
    owner.restless = true;
    let acks = |kinds: Vec<_>| {
        let acks = kinds
            .into_iter()
            .filter(|kind| *kind == Some(MessageType::ReportAck));
        acks.count()
    };
    assert_eq!(acks(said(&mut owner, &mut link).await), 1);
    // It stays silent while nothing is missing, whatever comes.
    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, house.phone.beacon(2, Vec::new(), 1)),
    );
    let device = house.device();
    let seen = |counter| {
        move |store: &Store| {
            let beacon = store.device(device).expect("asked").expect("known");
            beacon.beacon_made_at.is_some() && store.newest_news().expect("asked") >= counter
        }
    };
    until(&mut owner, "the beacon", seen(1)).await;
    assert_eq!(acks(said(&mut owner, &mut link).await), 0);

    // The phone has answered twice; the first answer is here, the second met nobody.
    let id = house.order(Op::Ring { for_s: 5 });
    let command = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    let heard = house
        .phone
        .receipt(&command, CommandState::Running, &Detail::default());
    hub.inject(&house.phone.publication(Channel::Receipt, heard));
    until(&mut owner, "running", |store| {
        state(store, id) == State::Running
    })
    .await;
    let unheard = house
        .phone
        .receipt(&command, CommandState::Done, &Detail::default());
    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, house.phone.beacon(3, Vec::new(), 1)),
    );
    owner.repeated.clear();
    owner.restless = true;
    assert_eq!(acks(said(&mut owner, &mut link).await), 1);
    let wakes = owner.look_at.0 - UnixMs::now().0;
    assert!(wakes <= 10_000, "it speaks again after {wakes} ms");
    hub.inject(&house.phone.publication(Channel::Receipt, unheard));
    until(&mut owner, "done", |store| state(store, id) == State::Done).await;
    owner.repeated.clear();
    owner
        .repeated
        .insert(Item::Listening(device), (UnixMs(0), 1));
    owner.restless = true;
    assert_eq!(acks(said(&mut owner, &mut link).await), 0);
}

#[tokio::test]
async fn a_call_leaves_as_soon_as_its_own_word_is_back() {
    let house = household();
    let hub = Hub::new();
    let (owner, _link) = joined(&house, &hub).await;
    let account = owner.store.account().expect("account");
    let echo = echo::Echo::for_call(&account, Stay::Call).expect("drawn");
    let topic = echo.filter().expect("an owner's call has one").to_owned();
    assert!(
        Topic::parse(&topic).is_none(),
        "it means nothing to anybody"
    );
    let mut filters = subscriptions(&account);
    filters.push(topic.clone());
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let link = hub.connect("call", &filters);
    let mut call = Exchange::over(link, house.store(), Acceptance::Locked).expect("started");
    call.echo = echo;
    until(&mut call, "a connection", |_| true).await;
    call.until(DEADLINE, |it| Ok(it.is_connected().then_some(())))
        .await
        .expect("turns");
    // A message that the broker had before the word is taken in before the call leaves.
    hub.inject(
        &house
            .phone
            .publication(Channel::Beacon, house.phone.beacon(9, Vec::new(), 1)),
    );
    let began = Instant::now();
    call.settle(DEADLINE).await.expect("settled");
    // By its word, not by a silence nor at the deadline.
    assert!(hub.seen().iter().any(|seen| seen.topic == topic));
    assert!(began.elapsed() < DEADLINE);
    let row = house
        .store()
        .beacon(house.device())
        .expect("asked")
        .expect("known");
    assert!(
        row.bytes
            == call
                .store
                .beacon(house.device())
                .expect("asked")
                .expect("known")
                .bytes
    );
    assert!(call.echo.awaited.is_none() && call.in_flight.is_empty());
}

#[tokio::test]
async fn a_promise_counts_from_its_beacon_and_not_from_what_came_later() {
    let mut house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let device = house.device();
    let row =
        |owner: &Exchange<Loopback>| owner.store.device(device).expect("asked").expect("known");
    let made = row(&owner).beacon_made_at.expect("heard");
    let id = house.order(Op::Ring { for_s: 5 });
    let command = house.phone.verify(
        &order_at_phone(&mut owner, &mut link).await,
        &house.authority(),
    );
    // As if the beacon had come ten minutes ago.
    let before = UnixMs(made.0 - 600_000);
    owner.store.beacon_was_made(device, before).expect("set");
    let receipt = house
        .phone
        .receipt(&command, CommandState::Running, &Detail::default());
    hub.inject(&house.phone.publication(Channel::Receipt, receipt));
    until(&mut owner, "running", |store| {
        state(store, id) == State::Running
    })
    .await;
    let now = row(&owner);
    assert!(now.last_contact >= Some(made), "the receipt is a contact");
    let account = owner.store.account().expect("account");
    let known = crate::commands::show::Known::read(&owner.store, &account, now).expect("read");
    assert_eq!(known.next_contact(), Some(UnixMs(before.0 + 900_000)));
}

#[tokio::test]
async fn an_order_that_cannot_be_signed_fails_and_keeps_no_other_one_back() {
    let house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let formless = house.order(Op::Resume {
        beacon: u64::MAX >> 2,
        receipts: 1,
        head: [0; 32],
        reports: 1,
    });
    let ring = house.order(Op::Ring { for_s: 5 });
    let order = order_at_phone(&mut owner, &mut link).await;
    assert_eq!(house.phone.verify(&order, &house.authority()).id, ring);
    assert_eq!(state(&owner.store, formless), State::Failed);
}
