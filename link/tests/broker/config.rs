//! The lines of the shipped configuration that no other test proves.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use homing_link::{MqttLink, NotSent, Transport};

use crate::{
    DEADLINE, connected, live,
    mosquitto::{Mosquitto, OWNER},
    published, run, settings,
};

fn owner(broker: &Mosquitto) -> MqttLink {
    let identity = broker.household.client(OWNER);
    MqttLink::start(settings(
        broker.address(),
        &broker.household.ca_pem(),
        &identity,
    ))
    .expect("settings")
}

#[test]
fn nothing_older_than_tls_1_2_is_spoken() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let mut stream = TcpStream::connect(broker.address()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    // A ClientHello of TLS 1.1 (RFC 4346 §7.4.1.2): version 3.2, 32 bytes of random, no session, one cipher suite
    // (TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), no compression, no extensions.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xC0, 0x09, 1, 0]);
    stream.write_all(&hello).expect("sent");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("an alert");
    // RFC 5246 §7.2: record type 21, fatal 2, protocol_version 70.
    assert_eq!((answer[0], answer[5], answer[6]), (21, 2, 70), "{answer:?}");
}

#[test]
fn a_packet_above_the_limit_is_refused_before_it_is_sent_and_one_below_passes() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut owner = owner(&broker);
        connected(&mut owner).await;
        let topic = "homing/v1/account/0/keyring";
        assert_eq!(
            owner.publish(live(topic, vec![0; 65_536])),
            Err(NotSent::TooLarge { limit: 65_536 })
        );
        let token = owner.publish(live(topic, vec![0; 65_000])).expect("sent");
        published(&mut owner, token).await;
    });
}

#[test]
fn the_257th_connection_is_closed() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(TcpStream::connect(broker.address()).expect("a connection"));
    }
    let mut last = TcpStream::connect(broker.address()).expect("the kernel accepts it");
    last.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let closed = match last.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    assert!(closed);
}

#[test]
fn the_log_shows_neither_payloads_nor_topics() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        let mut owner = owner(&broker);
        connected(&mut owner).await;
        let token = owner
            .publish(live("homing/v1/00/marked-topic/cmd", "marked-payload"))
            .expect("sent");
        published(&mut owner, token).await;
        owner.close(DEADLINE).await;
        broker.wait_for_log("disconnected");
    });
    broker.stop();
    let log = broker.log();
    assert!(
        log.contains(OWNER) && !log.contains("marked-topic") && !log.contains("marked-payload"),
        "{log}"
    );
}

#[test]
fn the_database_is_saved_every_second_while_the_broker_runs() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    broker.wait_for_log("Saving in-memory database");
    broker.wait_for_log("Saving in-memory database");
    assert!(broker.database().is_file());
}
