//! Brokers and networks that stall, answer out of order, refuse or send too much.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use homing_link::{
    Disconnect, Drain, LinkEvent, MqttLink, RefusedPublish, RefusedSubscription, Transport,
    drain::Drained,
};

use crate::{
    connected, disconnected, forged,
    forged::Manners,
    household::Household,
    live, message,
    mosquitto::{Mosquitto, OWNER},
    proxy::Proxy,
    published, run, settings, wait_for,
};

fn link_to(address: SocketAddr, household: &Household, filters: &[&str]) -> MqttLink {
    let mut settings = settings(address, &household.ca_pem(), &household.client(OWNER));
    settings.keep_alive = Duration::from_secs(5);
    settings.subscriptions = filters.iter().map(|&filter| filter.to_owned()).collect();
    MqttLink::start(settings).expect("settings")
}

#[test]
fn a_broker_that_answers_pings_but_never_a_publish_is_given_up_after_three_keep_alives() {
    let household = Household::new();
    let address = forged::start(&household, Manners::NeverAcknowledges);
    run(async {
        let mut link = link_to(address, &household, &["t"]);
        connected(&mut link).await;
        let sent = std::time::Instant::now();
        link.publish(live("t", "x")).expect("sent");
        assert_eq!(disconnected(&mut link).await.0, Disconnect::Stalled);
        assert!(
            sent.elapsed() >= Duration::from_secs(6),
            "not before three keep-alives of 2 s"
        );
        connected(&mut link).await;
    });
}

#[test]
fn a_half_open_connection_is_noticed_and_everything_is_sent_again() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let proxy = Proxy::to(broker.address());
    run(async {
        let mut link = link_to(proxy.address(), &broker.household, &[]);
        connected(&mut link).await;
        proxy.stall();
        link.publish(live("homing/v1/x", "swallowed"))
            .expect("handed over");
        assert_eq!(disconnected(&mut link).await.0, Disconnect::Stalled);
        proxy.resume();
        connected(&mut link).await;
        let token = link.publish(live("homing/v1/x", "again")).expect("sent");
        published(&mut link, token).await;
    });
}

#[test]
fn a_listener_that_never_speaks_is_given_up_after_the_connect_timeout() {
    let household = Household::new();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    run(async {
        let address = silent.local_addr().expect("an address");
        let mut settings = settings(address, &household.ca_pem(), &household.client(OWNER));
        settings.connect_timeout = Duration::from_millis(300);
        let mut link = MqttLink::start(settings).expect("settings");
        assert_eq!(disconnected(&mut link).await.0, Disconnect::TimedOut);
    });
}

#[test]
fn acknowledgements_in_any_order_neither_mix_tokens_up_nor_wedge_the_window() {
    let household = Household::new();
    // rumqttc hands out packet ids in a circle of 16; groups that do not divide it meet every offset.
    let address = forged::start(&household, Manners::AcknowledgesBackwards(5));
    run(async {
        let mut link = link_to(address, &household, &["t"]);
        connected(&mut link).await;
        let mut waiting: Vec<u32> = (0..500).collect();
        let mut drain = Drain::new();
        while !waiting.is_empty() {
            assert!(
                drain
                    .fill(&mut link, waiting.iter().copied(), |_| Some(live("t", "x")))
                    .is_empty()
            );
            let event = wait_for(&mut link, "an answer", Ok).await;
            assert!(
                !matches!(event, LinkEvent::Disconnected { .. }),
                "{event:?}"
            );
            if let Some(Drained::Published(row)) = drain.note(&event) {
                waiting.retain(|&other| other != row);
            }
        }
    });
}

#[test]
fn refusals_of_publishes_and_subscriptions_are_reported_not_swallowed() {
    let household = Household::new();
    run(async {
        let full = forged::start(&household, Manners::RefusesPublish(0x97));
        let mut link = link_to(full, &household, &[]);
        connected(&mut link).await;
        let token = link.publish(live("t", "x")).expect("sent");
        let refused = LinkEvent::PublishRefused {
            token,
            reason: RefusedPublish::QuotaExceeded,
        };
        wait_for(&mut link, "the refusal", |event| {
            if event == refused { Ok(()) } else { Err(event) }
        })
        .await;
        let strict = forged::start(&household, Manners::RefusesSubscriptions(0x87));
        let mut link = link_to(strict, &household, &["secret/#"]);
        connected(&mut link).await;
        let (filter, reason) = ("secret/#".to_owned(), RefusedSubscription::NotAuthorised);
        assert_eq!(
            wait_for(&mut link, "the refusal", Ok).await,
            LinkEvent::SubscriptionRefused { filter, reason }
        );
    });
}

#[test]
fn a_refused_connect_is_named_by_its_reason() {
    let household = Household::new();
    run(async {
        for (code, expected) in [
            (0x87, Disconnect::NotAuthorised),
            (0x85, Disconnect::ClientIdRefused),
            (0x89, Disconnect::BrokerBusy),
        ] {
            let mut link = link_to(
                forged::start(&household, Manners::RefusesConnect(code)),
                &household,
                &[],
            );
            assert_eq!(disconnected(&mut link).await.0, expected);
        }
    });
}

#[test]
fn a_message_above_the_packet_limit_ends_the_connection_before_it_is_stored() {
    let household = Household::new();
    let address = forged::start(&household, Manners::SendsTooMuch(70_000));
    run(async {
        let mut link = link_to(address, &household, &["t"]);
        let (reason, _) = disconnected(&mut link).await;
        assert!(matches!(reason, Disconnect::Protocol(_)), "{reason:?}");
    });
}

#[test]
fn more_messages_than_a_window_before_the_answer_to_subscribe_are_all_delivered() {
    let household = Household::new();
    let address = forged::start(&household, Manners::SendsEarly(50));
    run(async {
        let mut link = link_to(address, &household, &["t"]);
        connected(&mut link).await;
        for number in 1..=50 {
            let delivery = message(&mut link).await;
            assert_eq!(delivery.payload, [number]);
            link.acknowledge(delivery.acknowledgement);
        }
    });
}

#[test]
fn a_closed_link_has_sent_what_was_handed_over() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut reader = link_to(broker.address(), &broker.household, &["homing/v1/#"]);
        connected(&mut reader).await;
        let identity = broker.household.client("00112233445566778899aabbccddeeff");
        let mut phone = MqttLink::start(settings(
            broker.address(),
            &broker.household.ca_pem(),
            &identity,
        ))
        .expect("settings");
        connected(&mut phone).await;
        let topic = "homing/v1/00/00112233445566778899aabbccddeeff/up/report";
        let tokens: Vec<_> = (0..16_u8)
            .map(|row| phone.publish(live(topic, [row])).expect("room"))
            .collect();
        phone.close(crate::DEADLINE).await;
        for token in tokens {
            assert_eq!(
                phone.next().await,
                LinkEvent::Published(token),
                "events before the end can still be read"
            );
        }
        for row in 0..16_u8 {
            let delivery = crate::message(&mut reader).await;
            assert_eq!(delivery.payload, [row]);
            reader.acknowledge(delivery.acknowledgement);
        }
    });
}
