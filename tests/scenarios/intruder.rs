//! Who should not be at the broker, and what replayed, bent and invented orders do to a phone: nothing. The thief has every tool but no key.

use e2e::{
    Handset, Household, Intruder, Owner, PASSPHRASE, PATIENCE, PHONE, Papers, Receiver, Sim,
};
use e2e::{Message, wait_until};
use homing_protocol::enrolment::Bundle;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a bundle says, read by whoever has got hold of it.
fn opened(bundle: &Path) -> Bundle {
    Bundle::decode(&std::fs::read(bundle).unwrap()).unwrap()
}

/// The certificate and key of a bundle as files, to be shown to the broker of `household`.
fn papers(household: &Household, bundle: &Path) -> Papers {
    let text = opened(bundle);
    let file = |what: &str, content: &str| -> PathBuf {
        let path = bundle.with_extension(what);
        std::fs::write(&path, content).unwrap();
        path
    };
    Papers {
        authority: household.owner.broker_folder().join("ca.crt"),
        certificate: Some((
            file("crt", &text.tls_certificate_pem),
            file("key", &text.tls_key_pem),
        )),
    }
}

/// A thief with the papers of a bundle.
fn thief(household: &Household, bundle: &Path) -> Intruder {
    let (logs, port) = (household.scratch.path(), household.broker.port());
    Intruder::with_papers(logs, port, papers(household, bundle)).named("thief")
}

/// A bundle of this owner that no phone has used.
fn bundle(owner: &Owner, folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.homing"));
    let out = path.display().to_string();
    let _ = owner
        .homing(&["device", "add", name, "--out", &out])
        .expect_success();
    path
}

fn topic(bundle: &Bundle, end: &str) -> String {
    let device = bundle.address.device.to_string();
    format!("homing/v1/{}/{device}/{end}", &device[..2])
}

fn quick(receiver: Receiver) -> Household {
    let household = Household::enrolled(receiver);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household
}

#[test]
fn the_broker_turns_away_whoever_has_no_papers_of_this_household() {
    let household = Household::without_phone(Receiver::Simulated);
    let (logs, port) = (household.scratch.path(), household.broker.port());
    let own = bundle(&household.owner, logs, "own");
    thief(&household, &own)
        .try_connect()
        .expect("whoever has papers is let in");

    let neighbour = Owner::new(&household.scratch.folder("neighbour"), PASSPHRASE);
    neighbour.init(e2e::free_port());
    let foreign = bundle(&neighbour, &household.scratch.folder("theirs"), "foreign");
    let authority = household.owner.broker_folder().join("ca.crt");
    for (who, stranger) in [
        ("nobody, without TLS", Intruder::plain(logs, port)),
        (
            "nobody, with TLS",
            Intruder::with_papers(
                logs,
                port,
                Papers {
                    authority,
                    certificate: None,
                },
            ),
        ),
        ("another household's phone", thief(&household, &foreign)),
    ] {
        let stranger = stranger.named("stranger");
        let refused = stranger
            .publish("homing/v1/x", b"x")
            .expect_err("published");
        // Not by the ACL: it did not come that far.
        assert!(
            !refused.to_lowercase().contains("authorized"),
            "{who}: {refused}"
        );
    }
}

#[test]
fn another_phone_of_the_household_reads_and_writes_nothing_of_ours() {
    let household = quick(Receiver::Simulated);
    let other = bundle(&household.owner, household.scratch.path(), "other");
    let (ours, theirs) = (opened(&household.bundle()), opened(&other));
    let foreigner = thief(&household, &other);
    let prefix = topic(&ours, "");
    let deaf = foreigner.clone().named("deaf").listen(&[
        "#",
        "homing/v1/#",
        &format!("{prefix}#"),
        "$SYS/#",
        "+/#",
    ]);
    // The same with our phone's own papers: that there was something to be heard.
    let mut witness = thief(&household, &household.bundle())
        .named("witness")
        .listen(&["#"]);

    let account = format!("homing/v1/account/{}/keyring", ours.address.account);
    let forbidden = [
        "cmd",
        "authority",
        "enrol",
        "up/beacon",
        "up/receipt",
        "up/report",
    ]
    .iter()
    .map(|end| topic(&ours, end))
    .chain(["cmd", "authority", "up/else"].map(|end| topic(&theirs, end)))
    .chain([account, "homing/v1".to_owned(), "anything".to_owned()]);
    for topic in forbidden {
        assert!(
            foreigner.publish(&topic, b"forged").is_err(),
            "{topic} may be written"
        );
    }
    foreigner
        .clone()
        .named("other")
        .publish(&topic(&theirs, "up/beacon"), b"its own")
        .expect("a phone writes its own beacon");

    let _ = household.owner.homing(&["locate", PHONE]).expect_success();
    let command = topic(&ours, "cmd");
    witness.wait_for(PATIENCE, "an order", |message| message.topic == command);
    let _ = household
        .owner
        .homing(&["ring", PHONE, "--for", "1s"])
        .expect_success();
    assert_eq!(deaf.messages(), [], "another phone heard something");
    let own: Vec<String> = ["cmd", "authority"].map(|end| topic(&ours, end)).to_vec();
    for message in witness.messages() {
        assert!(
            own.contains(&message.topic),
            "a phone's papers read {}",
            message.topic
        );
    }
}

#[test]
fn a_revoked_phone_is_refused_and_the_others_are_not() {
    let mut household = quick(Receiver::Simulated);
    let lost = bundle(&household.owner, household.scratch.path(), "lost");
    let lost = thief(&household, &lost);
    lost.try_connect().expect("not revoked yet");
    let _ = household
        .owner
        .homing(&["device", "revoke", "lost"])
        .expect_success();
    household.broker.reload();
    wait_until(PATIENCE, "the broker to read the new list", || {
        lost.try_connect().err()
    });
    let rung = household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "the others go on: {rung}");

    let _ = household.owner.json(&["device", "revoke", PHONE]);
    household.broker.restart();
    wait_until(PATIENCE, "the revoked phone to be cut off", || {
        (household.status()["agent"]["broker"] == "waiting").then_some(())
    });
    let unknown = household.owner.homing(&["ring", PHONE]);
    let unknown = unknown.sentence("homing", 64);
    assert!(unknown.contains("was put out of the account"), "{unknown}");
    let devices = household.owner.homing(&["devices", "--json"]);
    for device in devices.expect_success().json_lines() {
        assert_eq!(device["standing"], "revoked", "{device}");
    }
}

/// One more phone of the account, enrolled and running.
pub(crate) fn second_phone(household: &Household) -> (Handset, Sim) {
    let sim = Sim::start(&household.scratch.folder("sim-2"));
    let mut handset = Handset::new(&household.scratch.folder("phone-2"), &sim, None);
    let bundle = bundle(&household.owner, household.scratch.path(), "second");
    handset.enrol(&bundle);
    handset.start();
    let _ = household
        .owner
        .homing(&["device", "accept", "second", "--wait", "60s"])
        .expect_success();
    (handset, sim)
}

/// What must stay as it is while somebody attacks.
#[derive(Debug, PartialEq)]
struct Effects {
    played_ms: u64,
    ledger: Vec<Value>,
    receipts: Value,
    open: Value,
    told: Vec<Value>,
}

fn effects(household: &Household) -> Effects {
    let agent = household.status()["agent"].clone();
    Effects {
        played_ms: household.sim.siren()["played_ms"].as_u64().unwrap(),
        ledger: household.ledger(),
        receipts: agent["receipts"].clone(),
        open: agent["open"].clone(),
        told: household.log(),
    }
}

/// The sum of the phone's refusal counters.
fn refused(status: &Value) -> u64 {
    let counters = status["agent"]["refused"].as_object();
    counters.map_or(0, |all| all.values().filter_map(Value::as_u64).sum())
}

/// Waits until the phone has handled everything before: it takes its messages in order, and this is one more.
#[track_caller]
fn settled(household: &Household, thief: &Intruder, topic: &str) {
    let before = refused(&household.status());
    thief.publish(topic, b"the last of all").unwrap();
    wait_until(PATIENCE, "the phone to handle what was sent", || {
        (refused(&household.status()) > before).then_some(())
    });
}

/// Rings and stops, and returns both orders as they were on the wire.
fn recorded(household: &Household, thief: &Intruder) -> (Message, Message) {
    let tap = thief.listen(&["homing/v1/+/+/cmd"]);
    let heard = |number: usize| {
        wait_until(PATIENCE, "the order on the wire", || {
            // A sender repeats itself: the same bytes are the same order.
            let mut all = tap.messages();
            all.retain(|message| message.payload.len() > 1);
            all.dedup();
            all.into_iter().nth(number)
        })
    };
    let rung = household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    let ring = heard(0);
    let _ = household
        .owner
        .homing(&["ring", PHONE, "--stop"])
        .expect_success();
    household.sim.wait_silent(PATIENCE);
    let stop = wait_until(PATIENCE, "the stop on the wire", || {
        tap.messages()
            .into_iter()
            .find(|message| message.payload.len() > 1 && message.payload != ring.payload)
    });
    (ring, stop)
}

#[test]
fn recorded_orders_have_no_second_effect_however_they_come_back() {
    let mut household = quick(Receiver::Simulated);
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let (ring, stop) = recorded(&household, &thief);
    let topic = ring.topic.clone();
    let before = effects(&household);

    // At once and often, and in the wrong order.
    thief.publish_times(&topic, &ring.payload, 50).unwrap();
    thief.publish_times(&topic, &stop.payload, 50).unwrap();
    thief.publish_times(&topic, &ring.payload, 5).unwrap();
    // On the topic of the lists, and retained.
    let lists = topic.replace("/cmd", "/authority");
    thief.publish_retained(&lists, &ring.payload).unwrap();
    thief.publish_retained(&topic, &ring.payload).unwrap();
    settled(&household, &thief, &topic);
    assert_eq!(effects(&household), before);

    // After a restart, to which the broker hands out what it has retained.
    household.handset.kill9_agent();
    household.handset.start();
    household.wait_connected();
    thief.publish_times(&topic, &ring.payload, 5).unwrap();
    settled(&household, &thief, &topic);
    assert_eq!(effects(&household), before);

    // After later orders. What was retained goes first, or it would be taken for one of them.
    for retained in [&lists, &topic] {
        thief.publish_retained(retained, b"-").unwrap();
    }
    let (later, _) = recorded(&household, &thief);
    assert_ne!(later.payload, ring.payload);
    let before = effects(&household);
    for order in [&ring, &stop, &later, &ring] {
        thief.publish_times(&topic, &order.payload, 3).unwrap();
    }
    settled(&household, &thief, &topic);
    assert_eq!(effects(&household), before);
}

#[test]
fn bent_cut_and_retargeted_orders_are_counted_and_nothing_else() {
    let mut household = quick(Receiver::Simulated);
    let (second, other) = second_phone(&household);
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let (ring, stop) = recorded(&household, &thief);
    let before = effects(&household);
    let counted = refused(&household.status());
    let mut sent = 0;
    for order in [&ring, &stop] {
        let bytes = &order.payload;
        for part in 0..20 {
            let mut bent = bytes.clone();
            bent[part * (bytes.len() - 1) / 19] ^= 1 << (part % 8);
            thief.publish(&order.topic, &bent).unwrap();
            sent += 1;
        }
        for length in [1, 8, 60, bytes.len() / 2, bytes.len() - 1] {
            thief.publish(&order.topic, &bytes[..length]).unwrap();
            sent += 1;
        }
        let longer = [bytes.as_slice(), b"more"].concat();
        thief.publish(&order.topic, &longer).unwrap();
        sent += 1;
    }
    settled(&household, &thief, &ring.topic);
    wait_until(PATIENCE, &format!("each of {sent} to be counted"), || {
        (refused(&household.status()) > counted + sent).then_some(())
    });
    assert_eq!(effects(&household), before);

    // The same account's other phone, under its own name.
    let elsewhere = opened(&household.scratch.path().join("second.homing"));
    let elsewhere = topic(&elsewhere, "cmd");
    for order in [&ring, &stop, &ring] {
        thief.publish(&elsewhere, &order.payload).unwrap();
    }
    wait_until(PATIENCE, "the other phone to refuse", || {
        let status = second.homingd(&["status", "--json"]).json();
        (refused(&status) >= 3).then_some(())
    });
    let ledger = second
        .homingd(&["ledger", "--json"])
        .expect_success()
        .stdout;
    assert_eq!(
        (ledger.as_str(), other.siren()["played_ms"].as_u64()),
        ("", Some(0))
    );
    let _ = household
        .owner
        .homing(&["ring", PHONE, "--for", "1s"])
        .expect_success();
}

/// Bytes of everything the phone keeps.
fn kept_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => kept_bytes(&entry.path()),
            _ => entry.metadata().map_or(0, |file| file.len()),
        })
        .sum()
}

#[test]
fn a_thousand_messages_of_strangers_leave_no_trace_on_the_phone() {
    let mut household = quick(Receiver::Simulated);
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let (ring, _) = recorded(&household, &thief);
    let before = effects(&household);
    let size = kept_bytes(&household.handset.state());
    let head = &ring.payload[..9.min(ring.payload.len())];
    let garbage: Vec<Vec<u8>> = [1, 511, 560, 1024, 4096, 4156, 4157, 8000, 30_000, 60_000]
        .iter()
        .flat_map(|length| {
            let noise: Vec<u8> = (0..*length)
                .map(|at: usize| u8::try_from(at * 31 % 251).expect("below 251"))
                .collect();
            let mut dressed = noise.clone();
            let visible = head.len().min(dressed.len());
            dressed[..visible].copy_from_slice(&head[..visible]);
            [noise, dressed]
        })
        .collect();
    for piece in &garbage {
        thief.publish_times(&ring.topic, piece, 50).unwrap();
    }
    settled(&household, &thief, &ring.topic);
    assert_eq!(effects(&household), before);
    assert_eq!(
        kept_bytes(&household.handset.state()),
        size,
        "the phone wrote down what strangers sent"
    );
    let rung = household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
}

#[test]
fn orders_of_every_kind_look_alike_on_the_wire() {
    let mut household = quick(Receiver::Simulated);
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let tap = thief.listen(&["homing/v1/+/+/cmd"]);
    for order in [
        &["locate", PHONE][..],
        &["ring", PHONE, "--for", "3m"],
        &["ring", PHONE, "--stop"],
        &["ring", PHONE, "--for", "1s", "--within", "1h"],
    ] {
        let _ = household.owner.homing(order).expect_success();
    }
    // Four orders, and the word that a report is stored.
    let lengths: Vec<usize> = wait_until(PATIENCE, "every order on the wire", || {
        let mut orders = tap.messages();
        orders.sort_by(|a, b| a.payload.cmp(&b.payload));
        orders.dedup();
        let lengths = orders.iter().map(|order| order.payload.len());
        (orders.len() >= 5).then(|| lengths.collect())
    });
    assert!(
        lengths.iter().all(|length| *length == lengths[0]),
        "{lengths:?}"
    );
}
