//! Locate and status, row by row.

use crate::house::*;
use homing_policy::{Effect, Event, Outgoing, SearchOutcome};
use homing_protocol::command::Op;
use homing_protocol::measure::{Position, PositionSource};
use homing_protocol::receipt::CommandState::*;

pub(crate) const PLACE: Position = Position {
    time_unix_ms: None,
    latitude_e7: 525_162_700,
    longitude_e7: 133_777_000,
    accuracy_dm: 50,
    altitude_dm: None,
    speed_cm_s: None,
    course_cdeg: None,
    source: PositionSource::Gnss,
    age_s: 0,
};

fn ended(phone: &mut Phone, id: u8, outcome: SearchOutcome<'_>) {
    let command = command_id(id);
    let _ = phone.hear(&Event::SearchEnded { command, outcome });
}

#[test]
fn a_search_that_finds_gives_a_report_and_a_receipt_that_names_it() {
    let (house, mut phone) = (House::new(), Phone::new());
    assert!(searches(&phone.receive(&house.sign(&locate(1, 1))), 1));
    ended(&mut phone, 1, SearchOutcome::Found(PLACE));
    ended(&mut phone, 1, SearchOutcome::Failed("late"));
    assert_eq!(phone.said(1), [Running, Done]);
    assert!(phone.journal.sent.iter().any(|message| matches!(
        message,
        Outgoing::Receipt {
            state: Done,
            report: Some(1),
            ..
        }
    )));
    assert!(phone.journal.sent.contains(&Outgoing::Report {
        counter: 1,
        position: PLACE
    }));
}

#[test]
fn a_search_that_fails_says_why() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    ended(&mut phone, 1, SearchOutcome::Failed("no receiver"));
    assert_eq!(phone.said(1), [Running, Failed]);
    assert!(phone.journal.sent.iter().any(|message| matches!(
        message,
        Outgoing::Receipt { text: Some(text), .. } if text == "no receiver"
    )));
}

#[test]
fn a_search_that_fails_names_the_newest_position_that_the_phone_still_has() {
    let (house, mut phone) = (House::new(), Phone::new());
    let told = |id: u8, phone: &mut Phone| {
        let _ = phone.receive(&house.sign(&locate(id.into(), id)));
        ended(phone, id, SearchOutcome::Failed("indoors"));
        assert_eq!(phone.said(id), [Running, Failed]);
        match phone.journal.sent.last() {
            Some(Outgoing::Receipt { report, .. }) => *report,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(1, &mut phone), None);
    for _ in 0..2 {
        let outcome = SearchOutcome::Found(PLACE);
        let _ = phone.hear(&Event::TrackEnded { outcome });
    }
    assert_eq!(told(2, &mut phone), Some(2));
    let _ = phone.hear(&Event::ReportsExpired { through: 1 });
    assert_eq!(told(3, &mut phone), Some(2));
    let _ = phone.hear(&Event::ReportsExpired { through: 2 });
    assert_eq!(told(4, &mut phone), None);
}

#[test]
fn the_newest_order_searches_and_the_older_ones_are_superseded() {
    let (house, mut phone) = (House::new(), Phone::new());
    for id in 1..=3 {
        assert!(searches(
            &phone.receive(&house.sign(&locate(id.into(), id))),
            id
        ));
    }
    // Another client's order is newer because it came later.
    assert!(searches(
        &phone.receive(&house.sign(&locate(1, 4).by(1, 1))),
        4
    ));
    for id in 1..=3 {
        assert_eq!(phone.said(id), [Running, Superseded]);
    }
    // What the older search still found is a position worth having, and answers nothing.
    ended(&mut phone, 1, SearchOutcome::Found(PLACE));
    assert_eq!(
        (phone.state.reports, phone.said(1)),
        (1, vec![Running, Superseded])
    );
}

#[test]
fn an_order_held_up_on_its_way_does_not_end_the_same_senders_newer_search() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(2, 2)));
    assert!(phone.receive(&house.sign(&locate(1, 1))).is_empty());
    assert_eq!(
        (phone.said(1), phone.said(2)),
        (vec![Superseded], vec![Running])
    );
}

#[test]
fn an_unfinished_search_begins_anew_after_any_restart() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    assert!(searches(&phone.restart(), 1));
    assert!(searches(&phone.reboot(), 1));
    ended(&mut phone, 1, SearchOutcome::Failed("no"));
    assert!(!searches(&phone.restart(), 1));
}

#[test]
fn status_is_done_at_once_and_asks_for_a_beacon() {
    let (house, mut phone) = (House::new(), Phone::new());
    let effects = phone.receive(&house.sign(&order(1, 1, Op::Status)));
    assert_eq!(effects, [Effect::BeaconSoon]);
    assert_eq!(phone.said(1), [Done]);
}

#[test]
fn a_search_that_ends_the_agent_each_time_is_begun_three_times_and_then_answered() {
    let (house, mut phone) = (House::new(), Phone::new());
    let mut begun = usize::from(searches(&phone.receive(&house.sign(&locate(1, 1))), 1));
    for _ in 0..5 {
        phone.later(1_000);
        begun += usize::from(searches(&phone.restart(), 1));
        phone.check_facts();
    }
    assert_eq!(begun, 3);
    assert_eq!(phone.said(1), [Running, Failed]);
    // The next order has its own three.
    assert!(searches(&phone.receive(&house.sign(&locate(2, 2))), 2));
    assert!(searches(&phone.restart(), 2));
}

#[test]
fn a_search_that_never_ends_is_answered_after_its_time_and_a_late_position_is_kept() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    phone.later(40_000);
    assert!(phone.hear(&Event::Tick).is_empty());
    assert_eq!(phone.said(1), [Running], "drivers may be a little late");
    phone.later(1);
    let _ = phone.hear(&Event::Tick);
    assert_eq!(phone.said(1), [Running, Failed]);
    let outcome = SearchOutcome::Found(PLACE);
    let command = command_id(1);
    let _ = phone.hear(&Event::SearchEnded { command, outcome });
    assert_eq!((phone.said(1).len(), phone.state.reports), (2, 1));
}
