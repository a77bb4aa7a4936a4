//! What the broker shows of the account's keyring: newer, older, forged or none. Judges no passphrase.
use super::*;
use crate::store::Renewal;
use homing_link::{Publication, Retention};

fn publication(house: &Pretended, payload: &[u8]) -> Publication {
    Publication {
        topic: Topic::Keyring(house.account.find.account).to_string(),
        payload: payload.to_vec(),
        retention: Retention::Retained,
    }
}

/// How often this very keyring was published, by whomever.
fn published(hub: &Hub, wanted: &Publication) -> usize {
    let seen = hub.seen();
    let same = |one: &&Publication| one.topic == wanted.topic && one.payload == wanted.payload;
    seen.iter().filter(same).count()
}

/// A household, a broker, the keyring that it was given earlier, and the owner who gave it.
fn with_a_published_keyring() -> (Pretended, Hub, Publication, Exchange<Loopback>) {
    let (house, hub) = (household(), Hub::new());
    let store = house.store();
    let own = store.account().expect("account").keyring;
    store.keyring_published(&own).expect("noted");
    let owner = exchange(&house, &hub, "owner", Acceptance::Locked);
    let own = publication(&house, &own);
    (house, hub, own, owner)
}

#[tokio::test]
async fn a_newer_keyring_is_kept_aside_and_a_fake_one_does_not_replace_ours() {
    let mut house = household();
    let hub = Hub::new();
    let own = house.store().account().expect("account").keyring;
    let newer = house.account.wrap_next(&mut rng()).expect("wrapped");
    let stranger = household();
    let mut costly = stranger.account.clone();
    let costly = (0..9).map(|_| costly.wrap_next(&mut rng()).expect("wrapped"));
    let costly = costly.last().expect("one");
    let mut owner = exchange(&house, &hub, "owner", Acceptance::Locked);
    hub.inject(&publication(&house, b"nonsense"));
    hub.inject(&publication(&house, &newer));
    until(&mut owner, "the offer", |store| {
        store.offered_keyring().expect("asked").is_some()
    })
    .await;
    // A higher number with another salt would have to be stretched anew each time somebody unlocks.
    owner.offered(&costly).expect("judged");
    assert_eq!(owner.store.offered_keyring().expect("asked"), Some(newer));
    assert_eq!(owner.store.account().expect("account").keyring, own);
}

#[tokio::test]
async fn an_old_keyring_is_answered_with_ours_each_time_and_told_of_once() {
    let mut house = household();
    let hub = Hub::new();
    let mut store = house.store();
    let old = publication(&house, &store.account().expect("account").keyring);
    let newest = house.account.wrap_next(&mut rng()).expect("wrapped");
    let renewed = store.renew_keyring(&house.account, &newest);
    assert_eq!(renewed.expect("asked"), Renewal::Stored);
    store.keyring_published(&newest).expect("noted");
    let newest = publication(&house, &newest);
    for times in 1..=2 {
        // On one connection it would wait before it answers again: nobody makes an owner shout.
        let mut owner = exchange(&house, &hub, "owner", Acceptance::Locked);
        hub.inject(&old);
        until(&mut owner, "ours in its place", |store| {
            let waits = store.unpublished_keyring().expect("asked").is_some();
            published(&hub, &newest) == times && !waits
        })
        .await;
    }
    let told = store.forks().expect("asked");
    let [played] = told.as_slice() else {
        panic!("told once: {told:?}");
    };
    assert!(played.what.contains("the broker showed keyring"));
    assert!(played.ended_at.is_some(), "nothing is left to be done");
    assert_eq!(store.offered_keyring().expect("asked"), None);
}

#[tokio::test]
async fn a_keyring_that_the_broker_has_lost_is_given_to_it_again() {
    let (_house, hub, own, mut owner) = with_a_published_keyring();
    // The broker has a few seconds in which to show what it keeps.
    let given = owner
        .until(3 * DEADLINE, |_| {
            Ok((published(&hub, &own) == 1).then_some(()))
        })
        .await;
    assert!(given.expect("turns").is_some());
    assert_eq!(owner.store.forks().expect("asked"), [], "no alarm");
}

#[tokio::test]
async fn a_keyring_that_the_broker_still_shows_is_not_sent_again() {
    let (_house, hub, own, mut owner) = with_a_published_keyring();
    hub.inject(&own);
    let shown = owner
        .until(DEADLINE, |it| Ok(it.keyring_shown.then_some(())))
        .await;
    assert!(shown.expect("turns").is_some());
    let late = UnixMs(UnixMs::now().0 + 3_600_000);
    owner.send_keyring(late).expect("looked");
    assert_eq!(owner.store.unpublished_keyring().expect("asked"), None);
    assert_eq!(published(&hub, &own), 0);
}
