//! The broker is killed and forgets everything, in the middle of whatever is under way. Both ends keep what they have not been answered for.

use crate::story::{
    Watch, each_has_one_end, no_alarm, played_ms, queue, text, told, wait_played_out,
    wait_positions, wait_settled,
};
use e2e::{Household, Intruder, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::json;

/// What a siren may play beyond its time, ms: its samples are written in blocks of 100 ms, two of which may wait.
const BLOCKS_MS: u64 = 400;

/// Kills the broker and all that it remembers: sessions, queues, retained messages. Then it is back, empty.
fn lose_everything(household: &mut Household) {
    household.broker.kill9();
    household.broker.delete_database();
    household.broker.restart();
    spare_the_pause(household);
}

/// A change of its network lets the phone try again at once instead of after its growing pause.
fn spare_the_pause(household: &Household) {
    for kind in ["cellular", "wifi"] {
        household
            .sim
            .ask(json!({"set": "network", "kind": kind, "metered": "no"}));
    }
}

/// So many orders were given, and owner and phone agree about all of them.
#[track_caller]
fn nothing_is_lost(household: &Household, watch: &Watch, orders: usize) {
    wait_until(PATIENCE, "every order to have ended", || {
        let status = household.owner.json(&["status"]);
        (status["queued_orders"] == 0).then_some(())
    });
    assert_eq!(crate::story::orders(household).len(), orders);
    each_has_one_end(household);
    wait_positions(household, watch);
    no_alarm(household);
}

/// Waits until the phone has done these, whether or not it can say so.
#[track_caller]
fn wait_done(household: &Household, orders: &[&str]) {
    wait_until(PATIENCE, "the phone to have done its orders", || {
        let ledger = household.ledger();
        let mut done = orders.iter().map(|order| told(&ledger, order, "done"));
        done.all(|times| times == 1).then_some(())
    });
}

fn indoors(household: &Household, indoors: bool) {
    household
        .sim
        .ask(json!({"set": "position", "indoors": indoors}));
}

#[test]
fn a_broker_that_forgets_everything_loses_no_order_and_no_report() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let mut watch = Watch::start(&household);
    let mut orders = Vec::new();
    let mut order = |household: &Household, arguments: &[&str]| {
        let id = queue(&household.owner, arguments);
        orders.push(id.clone());
        id
    };

    // Orders that have just gone out, or are about to.
    order(&household, &["locate", PHONE]);
    order(&household, &["ring", PHONE, "--for", "1s"]);
    lose_everything(&mut household);

    // In the middle of a search and of a ring; what follows from them is under way when the broker goes.
    indoors(&household, true);
    let search = order(&household, &["locate", PHONE]);
    watch.wait_state(&search, &["running"]);
    let ring = order(&household, &["ring", PHONE, "--for", "1s"]);
    watch.wait_state(&ring, &["running"]);
    household.broker.kill9();
    indoors(&household, false);
    wait_done(&household, &[&search, &ring]);
    let unheard = order(&household, &["locate", PHONE]);
    household.broker.delete_database();
    household.broker.restart();
    spare_the_pause(&household);
    // The watch begins anew as well, which spares it its pause.
    watch.kill9();
    watch = Watch::start(&household);
    assert_eq!(watch.wait_end(&unheard), "done");

    // The phone is away, and the broker forgets what it kept for it.
    wait_settled(&household);
    household.handset.stop();
    let kept = order(&household, &["ring", PHONE, "--for", "1s"]);
    watch.wait_state(&kept, &["sent"]);
    lose_everything(&mut household);
    household.handset.start();
    assert_eq!(watch.wait_end(&kept), "done");

    // And once more with answers that nobody has taken yet.
    watch.kill9();
    let answered = order(&household, &["locate", PHONE]);
    let _ = household.owner.homing(&["devices"]).expect_success();
    wait_done(&household, &[&answered]);
    lose_everything(&mut household);
    watch = Watch::start(&household);
    wait_settled(&household);

    nothing_is_lost(&household, &watch, orders.len());
    let played = wait_played_out(&household);
    assert!(
        (1..=3 * (1_000 + BLOCKS_MS)).contains(&played),
        "three rings of a second: {played} ms"
    );
}

#[test]
fn after_a_loss_both_sides_are_back_with_subscriptions_and_a_new_beacon() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let tap = household.broker.turn_hostile();
    let watch = Watch::start(&household);
    household.wait_connected();
    let logs = household.scratch.folder("tap");
    // Whoever subscribes is given what the broker has retained.
    let retained = || {
        let mut listening = Intruder::plain(&logs, tap).listen(&["homing/v1/+/+/up/beacon"]);
        listening.wait_for(PATIENCE, "the beacon", |_| true).payload
    };
    let mut old = retained();
    for round in 1..=2 {
        let contact = household.owner.json(&["devices"])["last_contact"].clone();
        lose_everything(&mut household);
        wait_until(PATIENCE, "a new beacon to be retained", || {
            let new = retained();
            (new != old).then(|| old = new)
        });
        let listed = household.owner.json(&["devices"]);
        assert!(
            text(&listed["last_contact"]) >= text(&contact),
            "{listed} after {contact}"
        );
        // Nobody restarted anything: both have subscribed again by themselves.
        let order = queue(&household.owner, &["locate", PHONE]);
        assert_eq!(watch.wait_end(&order), "done", "round {round}");
        wait_positions(&household, &watch);
    }
    assert_eq!(played_ms(&household), 0);
    each_has_one_end(&household);
    no_alarm(&household);
}
