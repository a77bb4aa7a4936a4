//! A phone whose network is bad in every way that a network is: what was ordered is done once all the same, and everything it has to say arrives.

use crate::away::enrol_through_proxy;
use crate::story::{
    Watch, each_has_one_end, ends, no_alarm, played_ms, queue, wait_played_out, wait_positions,
    wait_settled,
};
use e2e::{Household, PATIENCE, PHONE, Receiver, TcpProxy, wait_until};
use serde_json::json;

/// The phone is told that its network changed: it connects at once, however long its pause is.
fn nudge(household: &Household, turn: usize) {
    let kind = ["wifi", "cellular"][turn % 2];
    household
        .sim
        .ask(json!({"set": "network", "kind": kind, "metered": "no"}));
}

/// Connections that end within the TLS handshake (hello, the broker's flight, the phone's certificate), within
/// CONNECT, and within the messages that follow; bytes in both directions.
const CUTS: [u64; 7] = [1, 260, 900, 1_700, 2_900, 3_600, 5_000];

fn wait_all_cut(household: &Household, proxy: &TcpProxy) {
    let mut turn = 0;
    wait_until(PATIENCE * 2, "every connection to have been cut", || {
        turn += 1;
        // Not at each look: a connection needs a moment to come to its end.
        if turn % 10 == 0 {
            nudge(household, turn / 10);
        }
        (proxy.cuts_left() == 0).then_some(())
    });
}

#[test]
fn a_phone_whose_connections_end_anywhere_does_each_order_once() {
    let mut household = Household::without_phone(Receiver::Simulated);
    let proxy = enrol_through_proxy(&mut household);
    let watch = Watch::start(&household);
    proxy.cut_after(&CUTS);
    let mut orders = vec![queue(&household.owner, &["locate", PHONE])];
    wait_all_cut(&household, &proxy);
    orders.push(queue(&household.owner, &["ring", PHONE, "--for", "1s"]));
    for order in &orders {
        assert_eq!(watch.wait_end(order), "done");
    }
    // Byte by byte, each in a packet of its own, and cut again in the middle of the phone's answers.
    proxy.trickle();
    proxy.cut_after(&[4_200, 4_900]);
    let slow = queue(&household.owner, &["ring", PHONE, "--for", "1s"]);
    wait_all_cut(&household, &proxy);
    assert_eq!(watch.wait_end(&slow), "done");
    proxy.flow();
    wait_settled(&household);
    wait_positions(&household, &watch);
    assert_eq!(ends(&household).len(), 3);
    each_has_one_end(&household);
    no_alarm(&household);
    // Two rings of a second each, and neither of them twice.
    let _ = wait_played_out(&household);
    let played = played_ms(&household);
    assert!((1..=2_700).contains(&played), "{played} ms of sound");
}

#[test]
fn a_half_open_connection_is_noticed_and_nothing_on_it_is_lost() {
    let mut household = Household::without_phone(Receiver::Simulated);
    // Three of these without a word, and the agent gives the connection up.
    household
        .handset
        .configure("half-open", "[mqtt]\nkeep_alive_s = 5\n");
    let proxy = enrol_through_proxy(&mut household);
    let watch = Watch::start(&household);
    let before = proxy.connections();
    proxy.half_open();
    let order = queue(&household.owner, &["locate", PHONE]);
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "1s"]);
    wait_until(PATIENCE * 2, "the agent to try another connection", || {
        (proxy.connections() > before).then_some(())
    });
    assert!(watch.states(&order).iter().all(|state| state != "done"));
    proxy.open();
    nudge(&household, 1);
    assert_eq!(watch.wait_end(&order), "done");
    assert_eq!(watch.wait_end(&ring), "done");
    wait_settled(&household);
    wait_positions(&household, &watch);
    each_has_one_end(&household);
    no_alarm(&household);
}
