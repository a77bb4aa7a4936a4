//! What a delegate learns after it was added, through the shipped broker's access list, and how many clients work at once.

use crate::clients::{join, locates, rings_and_stops};
use crate::intruder::second_phone;
use e2e::{Household, Owner, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::Value;

/// The phones that a machine knows, by name.
fn phones(machine: &Owner) -> Vec<String> {
    let lines = machine.homing(&["devices", "--json"]).expect_success();
    let lines = lines.json_lines();
    let names = lines.iter().filter_map(|line| line["name"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn a_phone_that_joins_later_is_a_delegates_only_once_it_was_granted() {
    let household = Household::enrolled(Receiver::Simulated);
    let partner = join(&household, "partner", Some("locate,ring,read-location"));
    let partner = partner.machine;
    let (_second, _sim) = second_phone(&household);
    assert_eq!(phones(&partner), [PHONE]);
    let _ = partner.homing(&["locate", "second"]).expect_code(64);
    let unknown = ["client", "grant", "partner", "third"];
    let _ = household.owner.homing(&unknown).expect_code(64);
    let granted = household
        .owner
        .json(&["client", "grant", "partner", "second"]);
    assert_eq!(granted["phone"], "second", "{granted}");
    wait_until(PATIENCE, "the partner to learn of it", || {
        (phones(&partner).len() == 2).then_some(())
    });
    let found = partner.json(&["locate", "second"]);
    assert!(found["latitude"].is_f64(), "{found}");
    locates(&partner);
    // What the owner's own machines have, they have without being given it.
    let own = ["client", "grant", "tablet", "second"];
    let _ = join_tablet(&household);
    let refused = household.owner.homing(&own).sentence("homing", 78);
    assert!(refused.contains("no delegate"), "{refused}");
}

fn join_tablet(household: &Household) -> Owner {
    let folder = household.scratch.folder("tablet");
    let machine = Owner::new(&folder, e2e::PASSPHRASE);
    let [request, answer] =
        ["request", "answer"].map(|name| folder.join(name).display().to_string());
    let _ = machine.json(&["client", "request", "--name", "tablet", "--out", &request]);
    let _ = household
        .owner
        .json(&["client", "add", &request, "--out", &answer]);
    let accepted = machine.json(&["client", "accept", &answer]);
    assert_eq!(
        accepted["devices"].as_array().map(Vec::len),
        Some(2),
        "{accepted}"
    );
    machine
}

#[test]
fn a_broker_folder_of_before_delegates_is_brought_up_and_said_to_be() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let path = household.owner.broker_folder().join("acl");
    let now = std::fs::read_to_string(&path).unwrap();
    let (before, _) = now.split_once("\n# Delegates").expect("a block");
    std::fs::write(&path, before).unwrap();
    household.broker.restart();
    let told = household.owner.homing(&["status"]).expect_success();
    assert!(
        told.stderr.contains("access list") && told.stderr.contains("reload"),
        "{told}"
    );
    let again = household.owner.homing(&["status"]).expect_success();
    assert!(!again.stderr.contains("access list"), "said once: {again}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), now);
    household.broker.reload();
    let partner = join(&household, "partner", Some("ring")).machine;
    rings_and_stops(&household, &partner);
}

/// The states of a machine's own orders.
fn states(machine: &Owner) -> Vec<String> {
    let lines = machine.homing(&["log", PHONE, "--json"]).expect_success();
    let lines = lines.json_lines();
    let states = lines.iter().map(|line: &Value| line["state"].as_str());
    states
        .map(|state| state.unwrap_or("none").to_owned())
        .collect()
}

#[test]
fn two_watches_and_a_delegates_order_and_hear_at_once_and_nobody_pushes_another_off() {
    let household = Household::enrolled(Receiver::Simulated);
    let tablet = join(&household, "tablet", None).machine;
    let partner = join(&household, "partner", Some("locate,ring,read-location")).machine;
    let machines = [&household.owner, &tablet, &partner];
    let _watches: Vec<_> = machines
        .iter()
        .enumerate()
        .map(|(at, machine)| machine.start(&format!("watch-{at}"), &["watch"]))
        .collect();
    std::thread::scope(|scope| {
        for machine in machines {
            scope.spawn(move || {
                for _ in 0..2 {
                    let _ = machine.homing(&["locate", PHONE, "--wait", "30s"]);
                    let _ = machine.homing(&["ring", PHONE, "--for", "1s", "--wait", "20s"]);
                    let _ = machine.homing(&["ring", PHONE, "--stop", "--wait", "20s"]);
                }
            });
        }
    });
    for machine in machines {
        wait_until(PATIENCE, "every order to have ended", || {
            let states = states(machine);
            let ended = ["done", "cancelled", "superseded"];
            (states.len() == 6 && states.iter().all(|state| ended.contains(&state.as_str())))
                .then_some(())
        });
    }
    // Everybody has heard the same newest position.
    wait_until(PATIENCE, "the same position everywhere", || {
        let known = machines.map(|one| one.json(&["locate", PHONE, "--last"])["number"].as_u64());
        (known[0].is_some() && known.iter().all(|number| *number == known[0])).then_some(())
    });
    let log = household.broker.log();
    assert!(!log.contains("already connected"), "{log}");
    assert!(log.contains("New client connected"), "the log tells it");
}
