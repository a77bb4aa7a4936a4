//! Orders wait, on the owner's machine, for whatever is away: the phone, the network, the broker, the machine itself.

use crate::story::{
    Watch, each_has_one_end, ends, no_alarm, number, queue, steps, text, told, wait_positions,
    wait_settled,
};
use e2e::{Household, PATIENCE, PHONE, Receiver, TcpProxy, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn newest(household: &Household) -> Value {
    household.log().pop().expect("an order was given")
}

/// A phone that reaches the broker through another port, as from another network.
pub(crate) fn enrol_through_proxy(household: &mut Household) -> TcpProxy {
    let proxy = TcpProxy::start(household.broker.port());
    let path = household.bundle();
    let out = path.display().to_string();
    let _ = household
        .owner
        .homing(&["device", "add", PHONE, "--out", &out])
        .expect_success();
    proxy.lead(&path);
    household.handset.enrol(&path);
    household.handset.start();
    // The watch knows the passphrase and signs the keys of a phone that claims its bundle.
    let watch = Watch::start(household);
    wait_until(PATIENCE, "the phone to have joined", || {
        (household.status()["enrolled"] == "yes").then_some(())
    });
    household.wait_connected();
    watch.kill9();
    proxy
}

#[test]
fn an_order_waits_for_a_phone_that_is_switched_off() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household.handset.stop();
    let waiting = household
        .owner
        .json(&["ring", PHONE, "--for", "1s", "--wait", "5s"]);
    // It has left this machine; that it arrived nobody claims.
    assert_eq!(waiting["state"], "sent");
    let listed = household.owner.json(&["devices"]);
    assert!(listed["next_planned_contact"].is_string(), "{listed}");
    assert_eq!(
        waiting["next_planned_contact"],
        listed["next_planned_contact"]
    );
    assert_eq!(listed["queued_orders"], 1);
    let locate = household.owner.homing(&["locate", PHONE, "--wait", "1s"]);
    let locate = locate.expect_code(75);
    for part in [
        "waits for phone (last heard of ",
        "expected by ",
        "`homing watch` or any later homing call delivers it",
    ] {
        assert!(locate.stdout.contains(part), "no {part:?} in {locate}");
    }
    assert!(
        locate
            .stderr
            .contains("phone has not answered within 1s; the order stays queued"),
        "{locate}"
    );

    let watch = Watch::start(&household);
    household.handset.start();
    assert_eq!(watch.wait_end(text(&waiting["id"])), "done");
    wait_settled(&household);
    assert_eq!(ends(&household).len(), 2);
    each_has_one_end(&household);
    // The search was of use although its caller had gone: its position is known now.
    let _ = household.owner.json(&["locate", PHONE, "--last"]);
}

#[test]
fn an_order_that_finds_no_broker_is_delivered_by_any_later_call() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household.handset.stop();
    household.broker.stop();
    let waiting = household
        .owner
        .homing(&["ring", PHONE, "--for", "1s", "--wait", "1s"]);
    let waiting = waiting.expect_success();
    assert!(
        waiting
            .stdout
            .contains("The order is queued and waits for phone"),
        "{waiting}"
    );
    assert!(waiting.stdout.contains("expected by "), "{waiting}");
    // Shown also while there is no broker, as what it is: known here.
    let shown = household.owner.homing(&["log", PHONE]).expect_success();
    assert!(shown.stderr.contains("not connected ("), "{shown}");

    household.broker.restart();
    household.handset.start();
    household.wait_connected();
    let ring = newest(&household);
    assert!(steps(&ring).starts_with(&["queued", "sent"]), "{ring}");
    household.sim.wait_heard(PATIENCE);
    // It also brings home what the phone answered while nobody listened.
    wait_until(PATIENCE, "the ring to be done", || {
        (newest(&household)["state"] == "done").then_some(())
    });
    each_has_one_end(&household);
    no_alarm(&household);
}

#[test]
fn an_order_waits_while_the_phones_network_is_cut() {
    let mut household = Household::without_phone(Receiver::Simulated);
    let proxy = enrol_through_proxy(&mut household);
    let watch = Watch::start(&household);
    // A phone in a lift: its connection seems to stand.
    proxy.stall();
    let located = queue(&household.owner, &["locate", PHONE]);
    watch.wait_state(&located, &["sent"]);
    proxy.open();
    assert_eq!(watch.wait_end(&located), "done");
    // No network at all, and an answer that is on its way when it goes.
    household
        .sim
        .ask(json!({"set": "position", "indoors": true}));
    let cut = queue(&household.owner, &["locate", PHONE]);
    watch.wait_state(&cut, &["running"]);
    proxy.close();
    household
        .sim
        .ask(json!({"set": "position", "indoors": false}));
    wait_until(PATIENCE, "the phone to have its answer", || {
        (told(&household.ledger(), &cut, "done") == 1).then_some(())
    });
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "1s"]);
    watch.wait_state(&ring, &["sent"]);
    assert_eq!(watch.states(&cut).last().unwrap(), "running");
    proxy.open();
    // The phone notices by itself; a change of the network spares it the rest of its pause.
    household
        .sim
        .ask(json!({"set": "network", "kind": "cellular", "metered": "yes"}));
    assert_eq!(watch.wait_end(&cut), "done");
    assert_eq!(watch.wait_end(&ring), "done");
    wait_positions(&household, &watch);
    each_has_one_end(&household);
}

#[test]
fn the_owners_machine_loses_its_power_and_keeps_its_outbox() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    household.handset.stop();
    let sent = queue(&household.owner, &["locate", PHONE]);
    watch.wait_state(&sent, &["sent"]);
    household.broker.stop();
    let queued = queue(&household.owner, &["ring", PHONE, "--for", "1s"]);
    watch.kill9();
    // A call that is killed while it waits leaves its order behind as well.
    let mut call = household
        .owner
        .start("call", &["locate", PHONE, "--wait", "30s"]);
    wait_until(PATIENCE, "the third order", || {
        (household.log().len() == 3).then_some(())
    });
    call.kill9();

    household.broker.restart();
    household.handset.start();
    let watch = Watch::start(&household);
    assert_eq!(watch.wait_end(&queued), "done");
    wait_until(PATIENCE, "all three to have ended", || {
        let status = household.owner.json(&["status"]);
        (number(&status["queued_orders"]) == 0.0).then_some(())
    });
    wait_settled(&household);
    let ends = ends(&household);
    assert_eq!(ends.len(), 3);
    // The older search may have been overtaken by the newer one.
    assert!(
        ["done", "superseded"].contains(&ends[&sent].as_str()),
        "{ends:?}"
    );
    each_has_one_end(&household);
}

#[test]
fn several_calls_and_a_watch_share_one_store() {
    let household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    let mut calls: Vec<_> = (0..4)
        .map(|number| {
            let name = format!("call-{number}");
            let arguments = ["locate", PHONE, "--wait", "30s", "--json"];
            household.owner.start(&name, &arguments)
        })
        .chain([household
            .owner
            .start("ringing", &["ring", PHONE, "--for", "1s"])])
        .collect();
    let mut codes = Vec::new();
    for call in &mut calls {
        let status = call.wait(PATIENCE);
        // Done, or superseded by another's newer search.
        assert!(
            matches!(status.code(), Some(0 | 69)),
            "{status}: {}",
            call.log()
        );
        codes.push(status.code());
    }
    assert!(
        codes[..4].contains(&Some(0)),
        "one of them found it: {codes:?}"
    );
    wait_settled(&household);
    let log = household.log();
    let ids: BTreeSet<_> = log.iter().map(|order| text(&order["id"])).collect();
    assert_eq!((log.len(), ids.len()), (5, 5));
    wait_until(PATIENCE, "the watch to have told every end", || {
        ids.iter()
            .all(|id| {
                watch
                    .states(id)
                    .iter()
                    .any(|state| state == "done" || state == "superseded")
            })
            .then_some(())
    });
    each_has_one_end(&household);
    wait_positions(&household, &watch);
    no_alarm(&household);
}

#[test]
fn answers_that_nobody_listened_to_are_told_later_and_raise_no_alarm() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let _ = household.owner.homing(&["locate", PHONE]).expect_success();
    household.handset.stop();
    let waiting = household
        .owner
        .json(&["ring", PHONE, "--for", "1s", "--wait", "1s"]);
    // The owner has no watch, and this call is over when the phone comes back.
    household.handset.start();
    let ring = text(&waiting["id"]);
    wait_until(PATIENCE, "the phone to have done it", || {
        (told(&household.ledger(), ring, "done") == 1).then_some(())
    });
    wait_until(PATIENCE, "the end of the ring to be known", || {
        (newest(&household)["state"] == "done").then_some(())
    });
    no_alarm(&household);
    each_has_one_end(&household);
}
