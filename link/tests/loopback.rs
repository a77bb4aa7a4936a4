//! The in-process broker keeps the contract of a real link, and the drain loses nothing over it.

#![forbid(unsafe_code)]

use homing_link::{
    Disconnect, Drain, LinkEvent, NotSent, Publication, RefusedPublish, RefusedSubscription,
    Retention, SessionPresence, Transport,
    drain::Drained,
    loopback::{Answer, Fate, Hub, Loopback, ReleaseOrder},
};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(test)
}

fn live(topic: &str, payload: &str) -> Publication {
    Publication {
        topic: topic.to_owned(),
        payload: payload.as_bytes().to_vec(),
        retention: Retention::Live,
    }
}

async fn connected(client: &mut Loopback, expected: SessionPresence) {
    assert_eq!(
        client.next().await,
        LinkEvent::Connected {
            session_present: expected
        }
    );
}

async fn text(client: &mut Loopback) -> String {
    match client.next().await {
        LinkEvent::Message(delivery) => {
            let text = String::from_utf8(delivery.payload).expect("text");
            client.acknowledge(delivery.acknowledgement);
            text
        }
        other => panic!("a message was expected, not {other:?}"),
    }
}

#[test]
fn a_message_that_was_not_acknowledged_comes_again_and_an_acknowledged_one_does_not() {
    run(async {
        let hub = Hub::new();
        let mut phone = hub.connect("phone", &["a/#"]);
        connected(&mut phone, SessionPresence::Fresh).await;
        hub.inject(&live("a/1", "one"));
        hub.inject(&live("a/2", "two"));
        assert_eq!(text(&mut phone).await, "one");
        assert!(
            matches!(phone.next().await, LinkEvent::Message(_)),
            "two arrives and is not acknowledged"
        );
        hub.cut("phone");
        assert!(matches!(
            phone.next().await,
            LinkEvent::Disconnected {
                reason: Disconnect::Broken,
                ..
            }
        ));
        assert_eq!(phone.publish(live("a/3", "x")), Err(NotSent::Disconnected));
        hub.admit("phone");
        connected(&mut phone, SessionPresence::Resumed).await;
        assert_eq!(text(&mut phone).await, "two");
    });
}

#[test]
fn messages_are_lost_doubled_held_and_turned_round_by_instruction() {
    run(async {
        let hub = Hub::new();
        let mut sender = hub.connect("sender", &[]);
        let mut reader = hub.connect("reader", &["t/#"]);
        connected(&mut reader, SessionPresence::Fresh).await;
        connected(&mut sender, SessionPresence::Fresh).await;
        for (topic, fate) in [
            ("t/lost", Fate::Lose),
            ("t/twice", Fate::Duplicate),
            ("t/held1", Fate::Hold),
            ("t/held2", Fate::Hold),
            ("t/refused", Fate::Refuse(RefusedPublish::QuotaExceeded)),
        ] {
            hub.instruct(topic, fate);
            sender.publish(live(topic, topic)).expect("room");
        }
        assert_eq!(
            (text(&mut reader).await, text(&mut reader).await),
            ("t/twice".into(), "t/twice".into())
        );
        hub.release(ReleaseOrder::Reversed);
        assert_eq!(
            (text(&mut reader).await, text(&mut reader).await),
            ("t/held2".into(), "t/held1".into())
        );
        assert_eq!(hub.seen().len(), 5);
    });
}

#[test]
fn the_drain_sends_everything_again_when_a_broker_swallowed_it_and_forgot() {
    run(async {
        let hub = Hub::new();
        let mut phone = hub.connect("phone", &[]);
        let mut drain = Drain::new();
        let mut outbox: Vec<u32> = (0..40).collect();
        for row in 0..8 {
            hub.instruct(&format!("out/{row}"), Fate::Swallow);
        }
        let mut forgot = false;
        while !outbox.is_empty() {
            let event = phone.next().await;
            if let Some(Drained::Published(row)) = drain.note(&event) {
                outbox.retain(|&waiting| waiting != row);
            }
            if matches!(event, LinkEvent::Disconnected { .. }) {
                assert_eq!(drain.in_flight(), 0);
                hub.admit("phone");
            }
            let load = |row: &u32| Some(live(&format!("out/{row}"), "x"));
            assert_eq!(
                drain.fill(&mut phone, outbox.iter().copied(), load),
                Vec::new()
            );
            assert!(drain.in_flight() <= 16);
            if outbox.len() == 8 && !forgot {
                assert_eq!(
                    outbox,
                    (0..8).collect::<Vec<_>>(),
                    "only the swallowed ones wait"
                );
                hub.forget_everything();
                forgot = true;
            }
        }
        assert_eq!(
            hub.seen().len(),
            48,
            "each once, and the swallowed ones again"
        );
    });
}

#[test]
fn a_row_that_can_never_be_sent_is_handed_back_and_does_not_block_the_rest() {
    run(async {
        let hub = Hub::new();
        let mut phone = hub.connect("phone", &[]);
        connected(&mut phone, SessionPresence::Fresh).await;
        let mut drain = Drain::new();
        let topics = ["bad/#", "good"];
        let impossible = drain.fill(&mut phone, 0..2_usize, |row| Some(live(topics[*row], "x")));
        assert_eq!(impossible, [(0, NotSent::InvalidTopic)]);
        assert_eq!(drain.note(&phone.next().await), Some(Drained::Published(1)));
    });
}

#[test]
fn a_seized_broker_does_nothing_unless_it_is_told_to_and_lies_as_told() {
    run(async {
        let hub = Hub::new();
        hub.seize();
        let mut phone = hub.connect("phone", &["a/#"]);
        assert_eq!(phone.next_now(), None, "nobody lets it in");
        phone.network_changed();
        assert!(!hub.is_online("phone"));
        hub.welcome("phone", SessionPresence::Resumed);
        connected(&mut phone, SessionPresence::Resumed).await;
        let token = phone.publish(live("a/1", "one")).expect("taken");
        assert_eq!(
            (phone.next_now(), hub.take_published("phone")),
            (None, vec![live("a/1", "one")])
        );
        assert_eq!(hub.unanswered("phone"), 1);
        hub.answer("phone", 0, Answer::Unheard);
        assert_eq!(phone.next_now(), Some(LinkEvent::Unheard(token)));
        hub.hand_over("phone", &live("not/subscribed", "two"));
        assert_eq!(text(&mut phone).await, "two");
        assert_eq!(
            hub.take_acknowledged("phone"),
            [live("not/subscribed", "two")]
        );
        hub.refuse_subscription("phone", RefusedSubscription::NotAuthorised);
        assert!(matches!(
            phone.next_now(),
            Some(LinkEvent::SubscriptionRefused { .. })
        ));
        hub.hand_over("phone", &live("a/3", "three"));
        hub.end("phone", Disconnect::NotAuthorised);
        hub.forget_session("phone");
        hub.welcome("phone", SessionPresence::Fresh);
        let mut events = Vec::new();
        while let Some(event) = phone.next_now() {
            events.push(event);
        }
        assert!(
            matches!(
                events[..],
                [
                    LinkEvent::Message(_),
                    LinkEvent::Disconnected { .. },
                    LinkEvent::Connected { .. }
                ]
            ),
            "{events:?}"
        );
    });
}
