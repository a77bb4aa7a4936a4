//! The outbox: what must arrive is sent until it has, and not one time more than that needs.

use std::collections::BTreeMap;

use homing_link::RefusedPublish;
use homing_link::loopback::Fate;
use homing_policy::{Event, SearchOutcome};
use homing_protocol::command::Op;
use homing_protocol::id::CommandId;
use homing_protocol::measure::{Position, PositionSource};
use homing_protocol::receipt::CommandState::*;
use homing_protocol::topic::{Channel, Topic};

use super::house::*;

fn topic(channel: Channel) -> String {
    Topic::Device(ADDRESS.device, channel).to_string()
}

/// A search ends with a position that is told by its latitude.
fn found(phone: &mut Phone, latitude_e7: i32) {
    let outcome = SearchOutcome::Found(Position {
        time_unix_ms: None,
        latitude_e7,
        longitude_e7: 1,
        accuracy_dm: 1,
        altitude_dm: None,
        speed_cm_s: None,
        course_cdeg: None,
        source: PositionSource::Gnss,
        age_s: 0,
    });
    let command = CommandId([9; 16]);
    let ended = Event::SearchEnded { command, outcome };
    phone.brain.handle(&ended).unwrap();
}

async fn reconnect(phone: &mut Phone) {
    phone.hub.cut(&ADDRESS.device.to_string());
    phone.hub.admit(&ADDRESS.device.to_string());
    phone.settle().await;
}

#[test]
fn what_a_connection_lost_is_published_again_on_the_next_byte_for_byte() {
    run(async {
        let mut phone = Phone::new().await;
        phone.hub.instruct(&topic(Channel::Receipt), Fate::Swallow);
        phone.hub.instruct(&topic(Channel::Report), Fate::Swallow);
        let (id, _) = phone.order(Op::Status);
        phone.until(|phone| phone.said(id) == [Done]).await;
        let (located, _) = phone.order(locate());
        phone
            .until(|phone| phone.said(located).contains(&Done))
            .await;
        phone.settle().await;
        assert_eq!((phone.said(id).len(), phone.reports().len()), (1, 1));
        reconnect(&mut phone).await;
        assert_eq!((phone.said(id).len(), phone.reports().len()), (2, 2));
        let receipts = phone.published(Channel::Receipt);
        assert_eq!(
            receipts.first(),
            receipts.iter().rev().find(|copy| *copy == &receipts[0])
        );
        reconnect(&mut phone).await;
        assert_eq!(phone.said(id).len(), 2, "the broker has it");
    });
}

#[test]
fn a_report_is_offered_on_each_connection_until_a_reader_has_it() {
    run(async {
        let mut phone = Phone::new().await;
        for _ in 0..2 {
            let (located, _) = phone.order(locate());
            phone
                .until(|phone| phone.said(located).contains(&Done))
                .await;
        }
        phone.settle().await;
        let sent = |phone: &Phone, number| {
            phone
                .reports()
                .iter()
                .filter(|report| {
                    (report.first..report.first + report.positions.len() as u64).contains(&number)
                })
                .count()
        };
        assert_eq!((sent(&phone, 1), sent(&phone, 2)), (1, 1));
        phone.acknowledge_reports(1);
        phone
            .until(|phone| phone.brain.state.reports_stored == 1)
            .await;
        reconnect(&mut phone).await;
        assert_eq!((sent(&phone, 1), sent(&phone, 2)), (1, 2));
        phone.acknowledge_reports(9);
        phone.settle().await;
        assert_eq!(
            phone.brain.state.reports_stored, 1,
            "nobody stores what was not made"
        );
        phone.acknowledge_reports(2);
        phone
            .until(|phone| phone.brain.state.reports_stored == 2)
            .await;
        reconnect(&mut phone).await;
        assert_eq!(sent(&phone, 2), 2);
    });
}

#[test]
fn a_broker_that_refuses_is_asked_again_on_the_next_connection_and_not_in_a_loop() {
    run(async {
        let mut phone = Phone::new().await;
        for _ in 0..8 {
            phone.hub.instruct(
                &topic(Channel::Receipt),
                Fate::Refuse(RefusedPublish::NotAuthorised),
            );
        }
        let (id, _) = phone.order(Op::Status);
        phone.until(|phone| phone.said(id) == [Done]).await;
        phone.settle().await;
        assert_eq!(phone.said(id).len(), 1);
        reconnect(&mut phone).await;
        assert_eq!(phone.said(id).len(), 2);
    });
}

#[test]
fn an_answer_that_the_broker_refused_is_offered_again_when_its_owner_asks_and_with_each_beacon() {
    run(async {
        let mut phone = Phone::new().await;
        let refuse = |phone: &Phone| {
            let fate = Fate::Refuse(RefusedPublish::QuotaExceeded);
            phone.hub.instruct(&topic(Channel::Receipt), fate);
        };
        refuse(&phone);
        let (id, sealed) = phone.order(Op::Status);
        phone.until(|phone| phone.said(id) == [Done]).await;
        phone.settle().await;
        refuse(&phone);
        phone.publish(Channel::Command, sealed);
        phone.until(|phone| phone.said(id) == [Done, Done]).await;
        phone.settle().await;
        // A beacon is due anyway.
        phone.brain.beacon_at = std::time::Duration::ZERO;
        phone.brain.refused_again_at = std::time::Duration::ZERO;
        phone
            .until(|phone| phone.said(id) == [Done, Done, Done])
            .await;
    });
}

#[test]
fn a_broker_that_forgets_everything_gets_all_that_waits_and_the_owner_gets_his_answer() {
    run(async {
        let mut phone = Phone::new().await;
        phone.hub.instruct(&topic(Channel::Receipt), Fate::Lose);
        let (id, sealed) = phone.order(Op::Status);
        phone.until(|phone| phone.said(id) == [Done]).await;
        phone.hub.forget_everything();
        phone.hub.admit(&ADDRESS.device.to_string());
        phone.settle().await;
        // The owner has heard nothing and publishes once more.
        phone.publish(Channel::Command, sealed);
        phone.until(|phone| phone.said(id) == [Done, Done]).await;
        assert_eq!(phone.brain.state.receipts, 1);
    });
}

#[test]
fn a_position_is_answered_at_once_however_many_older_ones_nobody_has_confirmed() {
    run(async {
        let mut phone = Phone::new().await;
        for _ in 0..70 {
            found(&mut phone, 1);
            phone.settle_quickly().await;
        }
        let (located, _) = phone.order(locate());
        phone
            .until(|phone| phone.said(located).contains(&Done))
            .await;
        phone
            .until(|phone| {
                phone
                    .reports()
                    .iter()
                    .any(|report| report.first + report.positions.len() as u64 > 71)
            })
            .await;
    });
}

#[test]
fn an_outbox_that_cannot_be_emptied_is_not_sent_in_a_loop() {
    run(async {
        let mut phone = Phone::new().await;
        phone.hub.instruct(&topic(Channel::Receipt), Fate::Swallow);
        let (id, _) = phone.order(Op::Status);
        phone.until(|phone| phone.said(id) == [Done]).await;
        phone.set_disk(Disk::ReadOnly);
        reconnect(&mut phone).await;
        assert_eq!(phone.said(id).len(), 2);
        phone.set_disk(Disk::Works);
        reconnect(&mut phone).await;
        reconnect(&mut phone).await;
        assert_eq!(
            phone.said(id).len(),
            3,
            "once more for each connection until it could be struck off"
        );
    });
}

/// Positions of a week, one each five minutes.
const WEEK: i32 = 2_016;

#[test]
fn a_week_without_a_network_arrives_whole_and_in_few_messages() {
    run(async {
        let mut phone = Phone::new().await;
        let device = ADDRESS.device.to_string();
        phone.hub.cut(&device);
        phone.settle_quickly().await;
        for number in 1..=WEEK {
            found(&mut phone, number);
            if number == WEEK / 2 {
                phone = phone.restart();
                phone.hub.cut(&device);
            }
        }
        phone.settle_quickly().await;
        let before = phone.published(Channel::Report).len();
        phone.hub.admit(&device);
        let mut heard = BTreeMap::new();
        let (mut opened, mut stored) = (before, 0u64);
        while stored < u64::try_from(WEEK).unwrap() {
            phone
                .until(|phone| phone.published(Channel::Report).len() > opened)
                .await;
            for report in phone.reports().into_iter().skip(opened) {
                opened += 1;
                let places = report.positions.iter().map(|place| place.latitude_e7);
                heard.extend((report.first..).zip(places));
            }
            let known = stored;
            while heard.contains_key(&(stored + 1)) {
                stored += 1;
            }
            if stored > known {
                phone.acknowledge_reports(stored);
            }
        }
        assert!(heard.into_values().eq(1..=WEEK));
        // A message holds 32 of them, and the newest are offered before their turn.
        let messages = phone.published(Channel::Report).len() - before;
        assert!(messages <= 2 * 2_016 / 32, "{messages}");
        phone
            .until(|phone| phone.brain.state.reports_stored == stored)
            .await;
    });
}
