//! Who gets in and who reads what: the ACL and the certificate rules as shipped.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use homing_link::{Disconnect, LinkEvent, MqttLink, RefusedPublish, SessionKind, Transport};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    DEADLINE, connected, disconnected,
    household::{Household, Identity},
    live, message,
    mosquitto::{Mosquitto, OWNER},
    published, run, settings, wait_for,
};

const THIEF: &str = "aa112233445566778899aabbccddeeff";
const VICTIM: &str = "bb112233445566778899aabbccddeeff";

fn topic(device: &str, leaf: &str) -> String {
    format!("homing/v1/{}/{device}/{leaf}", &device[..2])
}

fn link(broker: &Mosquitto, identity: &Identity, filters: &[&str]) -> MqttLink {
    let mut settings = settings(broker.address(), &broker.household.ca_pem(), identity);
    settings.subscriptions = filters.iter().map(|&filter| filter.to_owned()).collect();
    MqttLink::start(settings).expect("settings")
}

/// Sends a CONNECT over this stream; what comes back, if anything.
fn answer_to_connect(stream: &mut (impl Read + Write)) -> Vec<u8> {
    // MQTT 5 §3.1: protocol MQTT, version 5, clean start, keep-alive 60 s, no properties, client id "x".
    let connect = [
        0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 1, b'x',
    ];
    let mut answer = Vec::new();
    if stream
        .write_all(&connect)
        .and_then(|()| stream.flush())
        .is_ok()
    {
        let mut bytes = [0; 64];
        // An error here is a refusal in the form of an alert or a reset: the answer stays empty.
        if let Ok(count) = stream.read(&mut bytes) {
            answer.extend_from_slice(&bytes[..count]);
        }
    }
    answer
}

fn tcp(broker: &Mosquitto) -> TcpStream {
    let stream = TcpStream::connect(broker.address()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(broker.household.ca_pem().as_bytes()).expect("PEM"))
        .expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    assert_eq!(
        answer_to_connect(&mut StreamOwned::new(connection, tcp(&broker))),
        [0; 0]
    );
}

#[test]
fn a_client_without_tls_is_refused() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let answer = answer_to_connect(&mut tcp(&broker));
    // A TLS alert record (21) is allowed, a CONNACK (0x20) is not.
    assert!(
        answer.first().is_none_or(|&first| first == 21),
        "{answer:?}"
    );
}

#[test]
fn a_certificate_of_another_household_is_refused() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut stranger = link(&broker, &Household::new().client(VICTIM), &[]);
        let (reason, _) = disconnected(&mut stranger).await;
        assert!(
            matches!(
                reason,
                Disconnect::CertificateRejected(_) | Disconnect::ClosedEarly
            ),
            "{reason:?}"
        );
    });
}

#[test]
fn a_restart_throws_a_revoked_certificate_out_and_lets_the_others_back_in() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let (lost, kept) = (
            broker.household.client(THIEF),
            broker.household.client(VICTIM),
        );
        let mut phone = link(&broker, &lost, &[]);
        connected(&mut phone).await;
        broker.revoke(&lost);
        broker.stop();
        broker.launch();
        phone.network_changed();
        let refused = wait_for(&mut phone, "a refusal", |event| match event {
            LinkEvent::Disconnected { reason, .. } if !lost_connection(&reason) => Ok(reason),
            LinkEvent::Connected { .. } => panic!("a revoked certificate got in"),
            other => Err(other),
        })
        .await;
        assert!(
            matches!(
                refused,
                Disconnect::CertificateRevoked | Disconnect::ClosedEarly
            ),
            "{refused:?}"
        );
        connected(&mut link(&broker, &kept, &[])).await;
    });
}

/// Reasons that come from stopping the broker, not from the certificate.
fn lost_connection(reason: &Disconnect) -> bool {
    matches!(
        reason,
        Disconnect::BrokerBusy
            | Disconnect::Broken
            | Disconnect::Refused
            | Disconnect::NetworkChanged
    )
}

#[test]
fn after_a_reload_a_revoked_certificate_gets_no_new_connection_but_keeps_the_one_it_has() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let lost = broker.household.client(THIEF);
        let mut phone = link(&broker, &lost, &[]);
        connected(&mut phone).await;
        broker.revoke(&lost);
        broker.reload();
        let token = phone
            .publish(live(topic(THIEF, "up/report"), "still here"))
            .expect("sent");
        published(&mut phone, token).await;
        // The same TLS configuration, so that a resumed TLS session would be tried too.
        phone.network_changed();
        let refused = wait_for(&mut phone, "a refusal", |event| match event {
            LinkEvent::Disconnected { reason, .. } if !lost_connection(&reason) => Ok(reason),
            LinkEvent::Connected { .. } => panic!("a revoked certificate got in"),
            other => Err(other),
        })
        .await;
        assert!(
            matches!(
                refused,
                Disconnect::CertificateRevoked | Disconnect::ClosedEarly
            ),
            "{refused:?}"
        );
    });
}

#[test]
fn a_device_that_takes_anothers_client_id_reads_nothing_but_can_make_the_broker_drop_its_queue() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let keep = SessionKind::Persistent {
            expiry: Duration::from_secs(86_400),
        };
        let victim = broker.household.client(VICTIM);
        let mut own = settings(broker.address(), &broker.household.ca_pem(), &victim);
        own.subscriptions = vec![topic(VICTIM, "cmd"), topic(VICTIM, "authority")];
        own.session = keep;
        let mut phone = MqttLink::start(own.clone()).expect("settings");
        connected(&mut phone).await;
        phone.close(DEADLINE).await;
        let mut owner = link(&broker, &broker.household.client(OWNER), &[]);
        connected(&mut owner).await;
        let token = owner
            .publish(live(topic(VICTIM, "cmd"), "queued"))
            .expect("sent");
        published(&mut owner, token).await;
        let mut forged = settings(
            broker.address(),
            &broker.household.ca_pem(),
            &broker.household.client(THIEF),
        );
        forged.client_id = VICTIM.to_owned();
        forged.session = keep;
        forged.subscriptions = vec![topic(THIEF, "cmd")];
        let mut thief = MqttLink::start(forged).expect("settings");
        connected(&mut thief).await;
        for target in [VICTIM, THIEF] {
            let token = owner
                .publish(live(topic(target, "cmd"), "live"))
                .expect("sent");
            published(&mut owner, token).await;
        }
        assert_eq!(
            message(&mut thief).await.topic,
            topic(THIEF, "cmd"),
            "neither the queued nor the live one"
        );
        thief.close(DEADLINE).await;
        // The sender's outbox, not the broker's queue, brings the command to the phone.
        let mut phone = MqttLink::start(own).expect("settings");
        connected(&mut phone).await;
        let token = owner
            .publish(live(topic(VICTIM, "cmd"), "sent again"))
            .expect("sent");
        published(&mut owner, token).await;
        assert_eq!(message(&mut phone).await.payload, b"sent again");
    });
}

#[test]
fn a_revocation_list_that_is_over_locks_everybody_out_which_is_why_ours_never_is() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        broker.let_crl_expire();
        broker.reload();
        let mut phone = link(&broker, &broker.household.client(VICTIM), &[]);
        let (reason, _) = disconnected(&mut phone).await;
        assert!(
            matches!(
                reason,
                Disconnect::CertificateRejected(_) | Disconnect::ClosedEarly
            ),
            "{reason:?}"
        );
    });
}

#[test]
fn the_acl_is_read_again_on_sighup_so_that_owners_can_be_added_while_it_runs() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut new = link(&broker, &broker.household.client("owner-new"), &[]);
        connected(&mut new).await;
        let token = new.publish(live(topic(VICTIM, "cmd"), "x")).expect("sent");
        assert_eq!(
            refusal(&mut new).await,
            (token, RefusedPublish::NotAuthorised)
        );
        broker.extend_acl("user owner-new\ntopic readwrite homing/v1/#");
        broker.reload();
        let token = new.publish(live(topic(VICTIM, "cmd"), "x")).expect("sent");
        published(&mut new, token).await;
    });
}

async fn refusal(link: &mut MqttLink) -> (homing_link::Token, RefusedPublish) {
    wait_for(link, "a refusal", |event| match event {
        LinkEvent::PublishRefused { token, reason } => Ok((token, reason)),
        other => Err(other),
    })
    .await
}

#[test]
fn a_device_can_write_only_its_own_topics_and_is_told_so() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut owner = link(&broker, &broker.household.client(OWNER), &["homing/v1/#"]);
        let mut thief = link(&broker, &broker.household.client(THIEF), &[]);
        connected(&mut owner).await;
        connected(&mut thief).await;
        for forbidden in [
            topic(VICTIM, "cmd"),
            topic(VICTIM, "up/report"),
            topic(VICTIM, "up/beacon"),
            topic(VICTIM, "enrol"),
            topic(THIEF, "cmd"),
            topic(THIEF, "authority"),
            topic(THIEF, "up/other"),
            "homing/v1/account/0/keyring".to_owned(),
            "elsewhere".to_owned(),
        ] {
            let token = thief
                .publish(live(forbidden.as_str(), "forged"))
                .expect("sent");
            assert_eq!(
                refusal(&mut thief).await,
                (token, RefusedPublish::NotAuthorised),
                "{forbidden}"
            );
        }
        for allowed in ["enrol", "up/beacon", "up/receipt", "up/report"] {
            let token = thief
                .publish(live(topic(THIEF, allowed), "own"))
                .expect("sent");
            published(&mut thief, token).await;
            let delivery = message(&mut owner).await;
            assert_eq!(
                (delivery.topic, delivery.payload.as_slice()),
                (topic(THIEF, allowed), &b"own"[..])
            );
            owner.acknowledge(delivery.acknowledgement);
        }
    });
}

#[test]
fn a_device_that_subscribes_to_everything_receives_only_what_is_its_own() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let victim_cmd = topic(VICTIM, "cmd");
        let filters = [
            "#",
            "homing/v1/#",
            "homing/v1/+/+/up/report",
            "$SYS/#",
            victim_cmd.as_str(),
        ];
        let mut thief = link(&broker, &broker.household.client(THIEF), &filters);
        let mut owner = link(&broker, &broker.household.client(OWNER), &[]);
        connected(&mut owner).await;
        connected(&mut thief).await;
        // mosquitto grants every subscription and filters what it delivers; a refusal would come here first.
        let mut victim = link(&broker, &broker.household.client(VICTIM), &[]);
        connected(&mut victim).await;
        let token = victim
            .publish(live(topic(VICTIM, "up/report"), "where I am"))
            .expect("sent");
        published(&mut victim, token).await;
        for target in [
            topic(VICTIM, "cmd"),
            topic(VICTIM, "authority"),
            "homing/v1/account/0/keyring".into(),
            topic(THIEF, "cmd"),
        ] {
            let token = owner.publish(live(target, "x")).expect("sent");
            published(&mut owner, token).await;
        }
        // The broker passes messages on in order: had it passed on any other, that one would come first.
        match wait_for(&mut thief, "anything", Ok).await {
            LinkEvent::Message(delivery) => assert_eq!(delivery.topic, topic(THIEF, "cmd")),
            other => panic!("{other:?}"),
        }
    });
}
