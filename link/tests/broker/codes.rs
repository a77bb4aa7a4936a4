//! Every reason code of MQTT 5 that a broker may answer with, on the wire, and what the link makes of it; codes that the standard does not have included.

use std::net::SocketAddr;

use homing_link::{
    Disconnect, LinkEvent, MqttLink, RefusedPublish, RefusedSubscription, Transport,
};

use crate::{
    connected, disconnected, forged,
    forged::Manners,
    household::{Household, Identity},
    live,
    mosquitto::OWNER,
    run, settings, wait_for,
};

/// One CA and one client for all codes: keys are what takes time.
struct Strict {
    household: Household,
    client: Identity,
}

impl Strict {
    fn new() -> Self {
        let household = Household::new();
        let client = household.client(OWNER);
        Self { household, client }
    }

    /// A link to a broker of these manners.
    fn meets(&self, manners: Manners) -> MqttLink {
        let address: SocketAddr = forged::start(&self.household, manners);
        let mut settings = settings(address, &self.household.ca_pem(), &self.client);
        settings.subscriptions = vec!["t".to_owned()];
        MqttLink::start(settings).expect("settings")
    }
}

/// A reason that has a name of its own, or `None` for one that is told as a breach of the protocol.
fn check(packet: &str, code: u8, expected: Option<&Disconnect>, reason: &Disconnect) {
    let fits = match expected {
        Some(expected) => expected == reason,
        None => matches!(reason, Disconnect::Protocol(_)),
    };
    assert!(fits, "{packet} {code:#04x}: {reason:?}, not {expected:?}");
}

#[test]
fn every_code_of_a_refused_connect_ends_in_one_named_reason() {
    let strict = Strict::new();
    let named = |code| match code {
        0x85 => Some(Disconnect::ClientIdRefused),
        0x86 | 0x87 | 0x8A | 0x8C => Some(Disconnect::NotAuthorised),
        0x88 | 0x89 | 0x97 | 0x9F => Some(Disconnect::BrokerBusy),
        _ => None,
    };
    // MQTT 5, table 3-1; the last two are none of it, nor are 1 to 5 of MQTT 3.1.1.
    let codes = [
        0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
        0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F, 1, 2, 3, 4, 5, 0x8B, 0xFF,
    ];
    run(async {
        for code in codes {
            let mut link = strict.meets(Manners::RefusesConnect(code));
            let (reason, _) = disconnected(&mut link).await;
            check("CONNACK", code, named(code).as_ref(), &reason);
        }
    });
}

#[test]
fn every_code_of_a_brokers_goodbye_ends_in_one_named_reason() {
    let strict = Strict::new();
    let named = |code| match code {
        0x87 => Some(Disconnect::NotAuthorised),
        0x89 | 0x8B | 0x96 | 0x97 | 0x9F => Some(Disconnect::BrokerBusy),
        0x8D | 0x98 => Some(Disconnect::Broken),
        0x8E => Some(Disconnect::TakenOver),
        _ => None,
    };
    // MQTT 5, table 3-13; the last two are none of it.
    let codes = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
        0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2, 0x01,
        0xFF,
    ];
    run(async {
        for code in codes {
            let mut link = strict.meets(Manners::Disconnects(code));
            let (reason, _) = disconnected(&mut link).await;
            check("DISCONNECT", code, named(code).as_ref(), &reason);
        }
    });
}

#[test]
fn every_code_of_a_publish_answer_settles_its_token_or_ends_the_connection() {
    enum Expected {
        Heard,
        Unheard,
        Refused(RefusedPublish),
        Cut,
    }
    let strict = Strict::new();
    // MQTT 5, table 3-4; the last two are none of it.
    let rows = [
        (0x00, Expected::Heard),
        (0x10, Expected::Unheard),
        (0x80, Expected::Refused(RefusedPublish::Unspecified)),
        (0x83, Expected::Refused(RefusedPublish::Unspecified)),
        (0x87, Expected::Refused(RefusedPublish::NotAuthorised)),
        (0x90, Expected::Refused(RefusedPublish::TopicNameInvalid)),
        (0x91, Expected::Refused(RefusedPublish::Unspecified)),
        (0x97, Expected::Refused(RefusedPublish::QuotaExceeded)),
        (0x99, Expected::Refused(RefusedPublish::Unspecified)),
        (0x01, Expected::Cut),
        (0xFF, Expected::Cut),
    ];
    run(async {
        for (code, expected) in rows {
            let mut link = strict.meets(Manners::RefusesPublish(code));
            connected(&mut link).await;
            let token = link.publish(live("t", "x")).expect("sent");
            let event = wait_for(&mut link, "an answer", Ok).await;
            let fits = match expected {
                Expected::Heard => event == LinkEvent::Published(token),
                Expected::Unheard => event == LinkEvent::Unheard(token),
                Expected::Refused(reason) => event == LinkEvent::PublishRefused { token, reason },
                Expected::Cut => matches!(
                    event,
                    LinkEvent::Disconnected {
                        reason: Disconnect::Protocol(_),
                        ..
                    }
                ),
            };
            assert!(fits, "PUBACK {code:#04x}: {event:?}");
        }
    });
}

#[test]
fn every_code_of_a_refused_subscription_is_told_with_its_filter() {
    let strict = Strict::new();
    let refused = |code| match code {
        0x87 => Some(RefusedSubscription::NotAuthorised),
        0x8F => Some(RefusedSubscription::FilterInvalid),
        0x97 => Some(RefusedSubscription::QuotaExceeded),
        0x80 | 0x83 | 0x91 | 0x9E | 0xA1 | 0xA2 => Some(RefusedSubscription::Unspecified),
        _ => None,
    };
    run(async {
        // MQTT 5, table 3-8: granted, refused, and two that are none of it.
        for code in [0, 1, 2] {
            connected(&mut strict.meets(Manners::RefusesSubscriptions(code))).await;
        }
        for code in [0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2] {
            let mut link = strict.meets(Manners::RefusesSubscriptions(code));
            connected(&mut link).await;
            let event = wait_for(&mut link, "the refusal", Ok).await;
            let expected = LinkEvent::SubscriptionRefused {
                filter: "t".to_owned(),
                reason: refused(code).expect("a refusal"),
            };
            assert_eq!(event, expected, "SUBACK {code:#04x}");
        }
        for code in [0x03, 0xFF] {
            let mut link = strict.meets(Manners::RefusesSubscriptions(code));
            let (reason, _) = disconnected(&mut link).await;
            check("SUBACK", code, None, &reason);
        }
    });
}
