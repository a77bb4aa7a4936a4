//! The store with several processes at once, after being closed in the middle, and with what phones may send twice.
use super::*;
use crate::pretend::household;
use homing_owner::delivery::State;
use homing_protocol::command::Op;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

mod past;

#[test]
fn nobody_but_the_owner_may_read_the_state() {
    let house = household();
    let home = std::fs::metadata(house.home.path().join("homing.db")).expect("database");
    assert_eq!(home.permissions().mode() & 0o777, 0o600);
    let folder = tempfile::tempdir().expect("folder");
    let inner = folder.path().join("a/b");
    Store::create(&inner).expect("created");
    let mode = std::fs::metadata(&inner)
        .expect("folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_folder_without_an_account_and_one_with_an_account_are_told_apart() {
    let folder = tempfile::tempdir().expect("folder");
    assert!(matches!(
        Store::open(folder.path()),
        Err(Error::NoAccount(_))
    ));
    // An attempt that ended early may be repeated.
    Store::create(folder.path()).expect("created");
    Store::create(folder.path()).expect("created again");
    let house = household();
    assert!(matches!(
        Store::create(house.home.path()),
        Err(Error::AccountExists(_))
    ));
}

#[test]
fn several_processes_never_sign_under_the_same_number() {
    let house = household();
    house.enrol();
    let ids: Vec<_> = (0..40).map(|_| house.order(Op::Status)).collect();
    let home = house.home.path();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut store = Store::open(home).expect("state");
                for id in &ids {
                    store
                        .sign(*id, |seq| Ok(seq.to_be_bytes().to_vec()))
                        .expect("signed");
                }
            });
        }
    });
    let rows = house.store().outbox().expect("outbox");
    let numbers: BTreeSet<_> = rows.iter().map(|row| row.seq.expect("signed")).collect();
    assert_eq!(numbers, (1..=40).collect());
    assert!(rows.iter().all(|row| row.signed_times == 1));
}

#[test]
fn a_number_is_not_used_up_when_sealing_fails() {
    let house = household();
    house.enrol();
    let id = house.order(Op::Status);
    let mut store = house.store();
    assert!(store.sign(id, |_| Err(Error::Randomness)).is_err());
    store
        .sign(id, |seq| Ok(vec![u8::try_from(seq).expect("small")]))
        .expect("signed");
    assert_eq!(store.outbox().expect("outbox")[0].envelope, Some(vec![1]));
}

#[test]
fn of_two_processes_one_publishes() {
    let house = household();
    house.enrol();
    let id = house.order(Op::Status);
    let (mut one, two) = (house.store(), house.store());
    one.sign(id, |_| Ok(vec![9])).expect("signed");
    let (mine, theirs) = (one.outbox().expect("outbox"), two.outbox().expect("outbox"));
    let now = crate::clock::UnixMs::now();
    assert_eq!(one.take(&mine[0], now).expect("taken"), Some(vec![9]));
    assert_eq!(two.take(&theirs[0], now).expect("asked"), None);
}

#[test]
fn an_order_that_another_process_has_signed_meanwhile_is_not_ended_here() {
    let house = household();
    house.enrol();
    let mut one = house.store();
    for (signed, expected, end) in [
        (true, Withdrawn::TooLate, State::Queued),
        (false, Withdrawn::Here, State::Cancelled),
    ] {
        let id = house.order(Op::Ring { for_s: 5 });
        let open = one
            .open_orders(house.device(), |op| matches!(op, Op::Ring { .. }))
            .expect("asked");
        assert_eq!(open[0].signed_times, 0, "as this process has seen it");
        if signed {
            house.store().sign(id, |_| Ok(vec![9])).expect("signed");
        }
        assert_eq!(
            one.end_unsent(id, State::Cancelled).expect("asked"),
            expected
        );
        assert_eq!(one.order(id).expect("known").progress.state(), end);
    }
}

#[test]
fn an_order_and_its_steps_outlive_the_process() {
    let house = household();
    house.enrol();
    let id = house.order(Op::Ring { for_s: 5 });
    house.store().conclude(id, State::Sent, "").expect("stored");
    let order = house.store().order(id).expect("order");
    let states: Vec<_> = order
        .progress
        .steps()
        .iter()
        .map(|step| step.state)
        .collect();
    assert_eq!(states, [State::Queued, State::Sent]);
    assert_eq!(order.intent.op, Op::Ring { for_s: 5 });
}

#[test]
fn names_are_unique_among_phones_that_were_not_put_out() {
    let house = household();
    let mut store = house.store();
    store.rename(house.device(), "bag").expect("renamed");
    assert!(store.device_named("pocket").is_err());
    assert_eq!(
        store
            .device_named(&house.device().to_string())
            .expect("by id")
            .name,
        "bag"
    );
    store.revoked(house.device()).expect("revoked");
    assert!(store.device_named("bag").is_err());
}

#[test]
fn a_keyring_that_changed_while_it_was_published_stays_to_be_published() {
    let mut house = household();
    let mut store = house.store();
    let blob = house
        .account
        .wrap_next(&mut crate::exchange::rng())
        .expect("wrapped");
    let renewal = store.renew_keyring(&house.account, &blob).expect("stored");
    assert_eq!(renewal, Renewal::Stored);
    store.keyring_published(b"an older one").expect("ignored");
    assert_eq!(
        store.unpublished_keyring().expect("asked"),
        Some(blob.clone())
    );
    store.keyring_published(&blob).expect("marked");
    assert_eq!(store.unpublished_keyring().expect("asked"), None);
}

#[test]
fn a_name_that_two_machines_gave_at_once_keeps_nobody_from_unlocking() {
    let mut house = household();
    house.enrol();
    let mut store = house.store();
    let known = store
        .device(house.device())
        .expect("asked")
        .expect("known")
        .known();
    house.account.remember(known);
    store.rename(house.device(), "bag").expect("renamed");
    let other = homing_owner::enrol::Invitation {
        address: homing_protocol::envelope::Address {
            device: homing_protocol::id::DeviceId([7; 16]),
            ..house.invitation.address
        },
        epoch: 1,
        secret: house.invitation.secret.clone(),
        key_sets: 0,
    };
    store.invite(&other, "pocket", &[2; 16]).expect("invited");
    // The keyring says of the first that it is called what the second is called here.
    for expected in ["pocket (2)", "pocket (2)"] {
        let blob = house
            .account
            .wrap_next(&mut crate::exchange::rng())
            .expect("wrapped");
        let stored = store.adopt_keyring(&house.account, &blob).expect("stored");
        assert_eq!(stored, Renewal::Stored);
        let row = store.device(house.device()).expect("asked").expect("known");
        assert_eq!(row.name, expected);
    }
    // A name that was given here and is in no keyring yet stays.
    store.rename(house.device(), "purse").expect("renamed");
    store.keyring_is_stale().expect("marked");
    let blob = house
        .account
        .wrap_next(&mut crate::exchange::rng())
        .expect("wrapped");
    let stored = store.adopt_keyring(&house.account, &blob).expect("stored");
    assert_eq!(stored, Renewal::Stored);
    let row = store.device(house.device()).expect("asked").expect("known");
    assert_eq!(row.name, "purse");
    assert!(store.is_keyring_stale().expect("asked"));
}

/// What is stored of a phone's positions, as a report that came in.
fn report_comes(house: &crate::pretend::Pretended, first: u64, length: usize, at: UnixMs) {
    let mut store = house.store();
    let account = store.account().expect("account");
    let row = store
        .device(house.device())
        .expect("asked")
        .expect("device");
    let phone = row
        .phone(account.id, &account.root)
        .expect("read")
        .expect("phone");
    let bytes = house.phone.report(first, length);
    let report = phone
        .hear_report(&bytes, &account.client.reading)
        .expect("opened");
    store
        .heard_report(house.device(), &report, &bytes, at)
        .expect("stored");
}

#[test]
fn positions_that_come_together_are_told_in_one_line_that_names_them_all() {
    let house = household();
    house.enrol();
    for (first, length) in [(1, 1), (2, 31)] {
        report_comes(&house, first, length, UnixMs::now());
    }
    let news = house.store().news_after(0).expect("asked");
    let told: Vec<&str> = news
        .iter()
        .filter(|news| news.kind == super::NewsKind::Position)
        .map(|news| news.detail.as_str())
        .collect();
    assert_eq!(told, ["1", "2-32"]);
}

#[test]
fn gaps_are_asked_for_from_the_lowest_and_what_is_gone_for_good_is_none() {
    let house = household();
    house.enrol();
    let device = house.device();
    let missing = |newest| house.store().missing(device, newest).expect("asked");
    assert_eq!((missing(0), missing(5)), (None, Some((1, 5))));
    for (first, length) in [(1, 3), (8, 2), (8, 2), (9, 1)] {
        report_comes(&house, first, length, UnixMs::now());
    }
    assert_eq!((missing(0), missing(50)), (Some((4, 7)), Some((4, 7))));
    assert_eq!(
        house.store().unacknowledged(device).expect("asked"),
        Some(3)
    );
    // Only the answer to an order of ours, about this phone, may end a gap.
    for (op, left) in [
        (Op::Locate { search_s: 60 }, Some((4, 7))),
        (Op::ResendReports { first: 4, last: 7 }, None),
    ] {
        let request = house.order(op);
        let mut store = house.store();
        let transaction = store.write().expect("transaction");
        super::track::gone_for_good(&transaction, device, request, 8).expect("written");
        transaction.commit().expect("committed");
        assert_eq!(missing(0), left);
    }
    assert_eq!(
        house.store().unacknowledged(device).expect("asked"),
        Some(9)
    );
    assert_eq!(missing(5_000), Some((10, 1_033)), "no order asks for more");
}

#[test]
fn a_report_that_is_known_in_other_batches_is_not_stored_again_but_confirmed_again() {
    let house = household();
    house.enrol();
    let device = house.device();
    for first in 1..=6 {
        report_comes(&house, first, 1, UnixMs::now());
    }
    house.store().acknowledged(device, 6).expect("written");
    let news = house.store().newest_news().expect("asked");
    report_comes(&house, 1, 6, UnixMs::now());
    assert_eq!(house.store().newest_news().expect("asked"), news);
    assert_eq!(
        house.store().unacknowledged(device).expect("asked"),
        Some(6)
    );
    report_comes(&house, 5, 3, UnixMs::now());
    assert_eq!(
        house.store().unacknowledged(device).expect("asked"),
        Some(7)
    );
}

#[test]
fn old_positions_go_by_what_the_phones_user_agreed_to() {
    const DAY_MS: i64 = 86_400_000;
    let house = household();
    house.enrol();
    let device = house.device();
    let now = UnixMs::now();
    report_comes(&house, 1, 2, UnixMs(now.0 - 31 * DAY_MS));
    report_comes(&house, 3, 1, UnixMs(now.0 - 29 * DAY_MS));
    let has = |number| {
        let found = house.store().report(device, Some(number));
        found.expect("asked").is_some()
    };
    assert!(!has(1) && has(3));
    assert_eq!(
        house.store().kept_since(device, now).expect("asked"),
        UnixMs(now.0 - 30 * DAY_MS)
    );
}

/// Lets a beacon of the pretended phone in, as heard at a moment.
fn beacon_comes(house: &crate::pretend::Pretended, counter: u64, at: UnixMs) {
    let mut store = house.store();
    let account = store.account().expect("account");
    let row = store.device(house.device()).expect("asked").expect("known");
    let phone = row.phone(account.id, &account.root).expect("certified");
    let bytes = house.phone.beacon(counter, Vec::new(), 1);
    let heard = phone
        .expect("joined")
        .hear_beacon(&bytes, &account.client.reading)
        .expect("genuine");
    store
        .heard_beacon(house.device(), &heard, &bytes, Origin::Live, at)
        .expect("taken in");
}

#[test]
fn a_receipt_is_missing_only_after_its_grace_and_a_later_beacon() {
    let mut house = household();
    house.enrol();
    let command = crate::pretend::any_command(&house);
    let device = house.device();
    let reader = house.store();
    let due = || reader.receipts_due(device).expect("asked");
    // Three receipts are made, each vouched for; promised is a beacon every 900 s.
    let start = UnixMs::now().0 - 86_400_000;
    let at = |seconds: i64| UnixMs(start + seconds * 1_000);
    let made = |house: &mut crate::pretend::Pretended| {
        house.phone.receipt(
            &command,
            homing_protocol::receipt::CommandState::Running,
            &Default::default(),
        )
    };
    let _lost = made(&mut house);
    beacon_comes(&house, 1, at(0));
    assert_eq!(due(), 0, "just vouched for");
    let _lost = made(&mut house);
    beacon_comes(&house, 2, at(10));
    assert_eq!(due(), 0, "the phone may not have had the time");
    beacon_comes(&house, 3, at(900 + 59));
    assert_eq!(due(), 0, "within the minute");
    beacon_comes(&house, 4, at(900 + 60));
    assert_eq!(due(), 1, "the second was vouched for ten seconds later");
    let _new = made(&mut house);
    beacon_comes(&house, 5, at(2_000));
    assert_eq!(due(), 2, "the third is new");
}

#[test]
fn alarms_and_receipts_are_kept_within_bounds_and_what_was_forgotten_stays_forgotten() {
    let mut house = household();
    house.enrol();
    let device = house.device();
    let mut store = house.store();
    for _ in 0..80 {
        let thief = crate::pretend::PretendedPhone::new(house.invitation.address, Vec::new());
        store.rival_claim(device, &thief.keys).expect("told");
    }
    let alarms = store.alarms(device).expect("asked");
    assert_eq!(alarms.len(), 64);
    let first = alarms[0].id;
    assert!(
        alarms[7].id == first + 7 && alarms[63].id == first + 79,
        "the first and the newest"
    );

    let account = store.account().expect("account");
    let row = store.device(device).expect("asked").expect("known");
    let phone = row
        .phone(account.id, &account.root)
        .expect("certified")
        .expect("joined");
    let command = crate::pretend::any_command(&house);
    // A chain that is one too long, by hand: signing two thousand receipts would take a minute.
    let bytes = house.phone.receipt(
        &command,
        homing_protocol::receipt::CommandState::Running,
        &Default::default(),
    );
    let answer = phone
        .hear_receipt(&bytes, &account.client.reading)
        .expect("genuine");
    for counter in (2..=2_001).chain([1, 1]) {
        let mut answer = answer.clone();
        answer.receipt.counter = counter;
        store
            .heard_receipt(device, &answer, &bytes, UnixMs::now())
            .expect("stored");
    }
    let chain = store.chain(device).expect("asked");
    assert_eq!((chain.len(), chain[0].counter), (2_000, 2));
}

#[test]
fn a_phone_that_was_put_out_is_said_to_have_been_and_a_slip_is_corrected() {
    let house = household();
    let mut store = house.store();
    let slip = store
        .device_named("Poket")
        .expect_err("unknown")
        .to_string();
    assert!(slip.contains("did you mean \"pocket\"?"), "{slip}");
    // A day may begin meanwhile.
    let before = UnixMs::now().dated();
    store.revoked(house.device()).expect("put out");
    let after = UnixMs::now().dated();
    let gone = store.device_named("pocket").expect_err("gone").to_string();
    let dated = |day: &str| gone.contains(&format!("was put out of the account on {}", &day[..10]));
    assert!(dated(&before) || dated(&after), "{gone}");
}

#[test]
fn what_has_ended_keeps_no_sealed_bytes() {
    let house = household();
    house.enrol();
    let id = house.order(Op::Status);
    let mut store = house.store();
    store.sign(id, |_| Ok(vec![1])).expect("signed");
    store.conclude(id, State::Cancelled, "").expect("ended");
    let left: bool = store
        .connection
        .query_row("SELECT envelope IS NULL FROM command", [], |row| row.get(0))
        .expect("asked");
    assert!(left);
}

#[test]
fn a_phone_that_is_enrolled_again_owes_nothing_of_its_former_enrolment() {
    let mut house = household();
    house.enrol();
    let device = house.device();
    let command = crate::pretend::any_command(&house);
    let now = UnixMs::now();
    let running = homing_protocol::receipt::CommandState::Running;
    let _lost = house.phone.receipt(&command, running, &Default::default());
    beacon_comes(&house, 1, UnixMs(now.0 - 4_000_000));
    beacon_comes(&house, 2, now);
    let mut store = house.store();
    let forgotten = "UPDATE device SET receipts_from = 2001";
    store.connection.execute(forgotten, []).expect("set");
    assert_eq!(store.receipts_due(device).expect("asked"), 1);
    let again = homing_owner::enrol::Invitation {
        epoch: 2,
        ..house.invitation.clone()
    };
    store.invite_again(&again, &[2; 16]).expect("invited");
    assert_eq!(store.receipts_due(device).expect("asked"), 0);
    let from: i64 = store
        .connection
        .query_row("SELECT receipts_from FROM device", [], |row| row.get(0))
        .expect("asked");
    assert_eq!(from, 0);
    let row = store.device(device).expect("asked").expect("known");
    assert_eq!((row.beacon_made_at, row.revoked_at), (None, None));
}
