//! Sessions over a real broker: sending, receiving, acknowledging, and a broker that dies and forgets.

use std::{collections::BTreeMap, time::Duration};

use homing_link::{
    Disconnect, Drain, LinkEvent, MqttLink, NotSent, Publication, Retention, SessionKind,
    SessionPresence, Transport, drain::Drained,
};

use crate::{
    connected, disconnected, live, message,
    mosquitto::{Mosquitto, OWNER},
    published, run, settings, wait_for,
};

const PHONE: &str = "00112233445566778899aabbccddeeff";
const CMD: &str = "homing/v1/00/00112233445566778899aabbccddeeff/cmd";
const REPORT: &str = "homing/v1/00/00112233445566778899aabbccddeeff/up/report";
const BEACON: &str = "homing/v1/00/00112233445566778899aabbccddeeff/up/beacon";

fn phone_with(broker: &Mosquitto) -> MqttLink {
    let identity = broker.household.client(PHONE);
    let mut settings = settings(broker.address(), &broker.household.ca_pem(), &identity);
    settings.session = SessionKind::Persistent {
        expiry: Duration::from_secs(86_400),
    };
    settings.subscriptions = vec![CMD.to_owned()];
    MqttLink::start(settings).expect("settings")
}

fn owner_with(broker: &Mosquitto) -> MqttLink {
    let identity = broker.household.client(OWNER);
    let mut settings = settings(broker.address(), &broker.household.ca_pem(), &identity);
    settings.subscriptions = vec!["homing/v1/#".to_owned()];
    MqttLink::start(settings).expect("settings")
}

#[test]
fn a_command_and_a_report_cross_a_real_broker() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let (mut phone, mut owner) = (phone_with(&broker), owner_with(&broker));
        assert_eq!(connected(&mut phone).await, SessionPresence::Fresh);
        connected(&mut owner).await;
        let token = owner.publish(live(CMD, "ring")).expect("sent");
        published(&mut owner, token).await;
        let delivery = message(&mut phone).await;
        assert_eq!(
            (delivery.topic.as_str(), delivery.payload.as_slice()),
            (CMD, &b"ring"[..])
        );
        assert_eq!(delivery.retention, Retention::Live);
        phone.acknowledge(delivery.acknowledgement);
        let token = phone.publish(live(REPORT, vec![7; 4_156])).expect("sent");
        published(&mut phone, token).await;
        wait_for(&mut owner, "the report", |event| match event {
            LinkEvent::Message(delivery)
                if delivery.topic == REPORT && delivery.payload.len() == 4_156 =>
            {
                Ok(())
            }
            other => Err(other),
        })
        .await;
    });
}

#[test]
fn a_retained_beacon_reaches_an_owner_who_comes_later_and_says_that_it_was_retained() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut phone = phone_with(&broker);
        connected(&mut phone).await;
        let beacon = Publication {
            topic: BEACON.into(),
            payload: b"here".to_vec(),
            retention: Retention::Retained,
        };
        let token = phone.publish(beacon).expect("sent");
        published(&mut phone, token).await;
        let mut owner = owner_with(&broker);
        let delivery = message(&mut owner).await;
        assert_eq!(
            (delivery.topic.as_str(), delivery.retention),
            (BEACON, Retention::Retained)
        );
    });
}

#[test]
fn a_message_is_acknowledged_to_the_broker_only_after_acknowledge() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let (mut phone, mut owner) = (phone_with(&broker), owner_with(&broker));
        connected(&mut phone).await;
        connected(&mut owner).await;
        for payload in ["kept", "done"] {
            let token = owner.publish(live(CMD, payload)).expect("sent");
            published(&mut owner, token).await;
        }
        let kept = message(&mut phone).await;
        let done = message(&mut phone).await;
        phone.acknowledge(done.acknowledgement);
        phone.close(crate::DEADLINE).await;
        drop(phone);
        let mut again = phone_with(&broker);
        assert_eq!(connected(&mut again).await, SessionPresence::Resumed);
        let second = message(&mut again).await;
        assert_eq!(
            second.payload, kept.payload,
            "what was not acknowledged comes again"
        );
        // An acknowledgement of the connection before must not settle anything on this one.
        again.acknowledge(kept.acknowledgement);
        again.acknowledge(second.acknowledgement);
        let token = owner.publish(live(CMD, "last")).expect("sent");
        published(&mut owner, token).await;
        assert_eq!(
            message(&mut again).await.payload,
            b"last",
            "what was acknowledged does not come again"
        );
    });
}

#[test]
fn what_nobody_has_subscribed_to_is_told_from_what_waits_for_somebody() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut phone = phone_with(&broker);
        connected(&mut phone).await;
        let lost = phone.publish(live(REPORT, "lost")).expect("sent");
        let told = wait_for(&mut phone, "an answer", |event| match event {
            LinkEvent::Published(token) | LinkEvent::Unheard(token) if token == lost => Ok(event),
            other => Err(other),
        });
        assert_eq!(told.await, LinkEvent::Unheard(lost));
        let mut owner = owner_with(&broker);
        connected(&mut owner).await;
        phone.close(crate::DEADLINE).await;
        drop(phone);
        // The phone is away, but its session is there.
        let kept = owner.publish(live(CMD, "kept")).expect("sent");
        let told = wait_for(&mut owner, "an answer", |event| match event {
            LinkEvent::Published(token) | LinkEvent::Unheard(token) if token == kept => Ok(event),
            other => Err(other),
        });
        assert_eq!(told.await, LinkEvent::Published(kept));
    });
}

#[test]
fn a_broker_killed_with_its_database_deleted_gets_everything_afterwards() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut phone = phone_with(&broker);
        connected(&mut phone).await;
        let mut outbox: BTreeMap<u32, &str> = (0..60).map(|row| (row, REPORT)).collect();
        let mut drain = Drain::new();
        let load = |row: &u32| Some(live(REPORT, row.to_be_bytes()));
        assert!(
            drain
                .fill(&mut phone, outbox.keys().copied(), load)
                .is_empty()
        );
        assert_eq!(drain.in_flight(), 16);
        assert_eq!(phone.publish(live(REPORT, "17th")), Err(NotSent::Full));
        broker.kill();
        broker.delete_database();
        drain.note(&LinkEvent::Disconnected {
            reason: disconnected(&mut phone).await.0,
            retry_in: Duration::ZERO,
        });
        assert_eq!(phone.publish(live(REPORT, "x")), Err(NotSent::Disconnected));
        broker.launch();
        let mut owner = owner_with(&broker);
        connected(&mut owner).await;
        phone.network_changed();
        assert_eq!(
            connected(&mut phone).await,
            SessionPresence::Fresh,
            "the broker has forgotten the session"
        );
        while !outbox.is_empty() {
            assert!(
                drain
                    .fill(&mut phone, outbox.keys().copied(), load)
                    .is_empty()
            );
            let event = wait_for(&mut phone, "an answer", Ok).await;
            if let Some(Drained::Published(row)) = drain.note(&event) {
                outbox.remove(&row);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 60 {
            let delivery = message(&mut owner).await;
            owner.acknowledge(delivery.acknowledgement);
            seen.insert(delivery.payload);
        }
        let token = owner.publish(live(CMD, "still subscribed")).expect("sent");
        published(&mut owner, token).await;
        assert_eq!(message(&mut phone).await.payload, b"still subscribed");
    });
}

#[test]
fn a_broker_that_stops_in_good_order_keeps_the_session() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut phone = phone_with(&broker);
        connected(&mut phone).await;
        broker.wait_for_log("Saving in-memory database");
        broker.stop();
        let (reason, _) = disconnected(&mut phone).await;
        assert!(
            matches!(reason, Disconnect::BrokerBusy | Disconnect::Broken),
            "{reason:?}"
        );
        assert_eq!(disconnected(&mut phone).await.0, Disconnect::Refused);
        broker.launch();
        assert_eq!(connected(&mut phone).await, SessionPresence::Resumed);
    });
}

#[test]
fn a_change_of_the_network_connects_at_once_however_long_the_wait_was() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let identity = broker.household.client(PHONE);
        let mut settings = settings(broker.address(), &broker.household.ca_pem(), &identity);
        settings.backoff = homing_link::Backoff {
            first: Duration::from_secs(600),
            ceiling: Duration::from_secs(900),
        };
        broker.kill();
        let mut phone = MqttLink::start(settings).expect("settings");
        let (reason, retry_in) = disconnected(&mut phone).await;
        assert_eq!(reason, Disconnect::Refused);
        assert!(retry_in >= Duration::from_secs(300), "{retry_in:?}");
        broker.launch();
        phone.network_changed();
        connected(&mut phone).await;
        phone.network_changed();
        assert_eq!(
            disconnected(&mut phone).await,
            (Disconnect::NetworkChanged, Duration::ZERO)
        );
        connected(&mut phone).await;
    });
}

#[test]
fn waits_between_attempts_grow_and_differ() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    broker.kill();
    run(async {
        let mut phone = phone_with(&broker);
        let mut waits = Vec::new();
        for step in [50_u64, 100, 200, 200, 200] {
            let (_, retry_in) = disconnected(&mut phone).await;
            let step = Duration::from_millis(step);
            assert!(
                retry_in >= step / 2 && retry_in <= step,
                "{retry_in:?} is not in the upper half of {step:?}"
            );
            waits.push(retry_in);
        }
        assert!(
            waits[2] != waits[3] || waits[3] != waits[4],
            "three equal waits are no jitter: {waits:?}"
        );
    });
}

#[test]
fn a_second_client_of_the_same_id_pushes_the_first_out_and_the_first_pauses() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut first = phone_with(&broker);
        connected(&mut first).await;
        let mut second = phone_with(&broker);
        connected(&mut second).await;
        let (reason, retry_in) = disconnected(&mut first).await;
        // mosquitto 2.0.11 sends the reason in a form that rumqttc 0.25.1 cannot read: then only the end is seen.
        assert!(
            matches!(reason, Disconnect::TakenOver | Disconnect::Broken),
            "{reason:?}"
        );
        assert!(!retry_in.is_zero());
    });
}
