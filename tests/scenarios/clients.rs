//! Several machines and a delegate share an account. What each may do the phone decides; the stories only ask.

use e2e::{Household, Owner, PASSPHRASE, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};

/// A machine that has asked and was answered, and what the owner was told about it.
pub(crate) struct Joined {
    pub(crate) machine: Owner,
    pub(crate) added: Value,
}

/// Lets a machine called `name` join: as the owner's own, or with `can` as a delegate's.
pub(crate) fn join(household: &Household, name: &str, can: Option<&str>) -> Joined {
    let folder = household.scratch.folder(name);
    let machine = Owner::new(&folder, PASSPHRASE);
    let (request, answer) = (folder.join("request"), folder.join("answer"));
    let (request, answer) = (request.display().to_string(), answer.display().to_string());
    let asked = machine.json(&["client", "request", "--name", name, "--out", &request]);
    let mut adding = vec!["client", "add", &request, "--out", &answer];
    adding.extend(can.iter().flat_map(|can| ["--can", can]));
    let added = household.owner.json(&adding);
    assert_eq!(added["fingerprint"], asked["fingerprint"], "{added}");
    let accepted = machine.json(&["client", "accept", &answer]);
    assert_eq!(accepted["client"], asked["client"], "{accepted}");
    assert_eq!(accepted["devices"], json!([PHONE]), "{accepted}");
    Joined { machine, added }
}

pub(crate) fn locates(machine: &Owner) {
    let found = machine.json(&["locate", PHONE]);
    assert!(found["latitude"].is_f64(), "{found}");
}

pub(crate) fn rings_and_stops(household: &Household, machine: &Owner) {
    let rung = machine.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    let stopped = machine.json(&["ring", PHONE, "--stop"]);
    assert_eq!(stopped["state"], "done", "{stopped}");
    household.sim.wait_silent(PATIENCE);
}

/// Waits until the phone follows the owner's newest list.
pub(crate) fn phone_has_the_newest_list(household: &Household) {
    let newest = household.owner.json(&["status"])["authority_version"].as_u64();
    wait_until(PATIENCE, "the phone to take the newest list", || {
        (household.status()["agent"]["authority_version"].as_u64() == newest).then_some(())
    });
}

#[test]
fn two_machines_and_a_delegate_order_at_once_without_disturbing_each_other() {
    let household = Household::enrolled(Receiver::Simulated);
    let tablet = join(&household, "tablet", None);
    let partner = join(&household, "partner", Some("locate,ring,read-location"));
    let machines = [&household.owner, &tablet.machine, &partner.machine];
    std::thread::scope(|scope| {
        for machine in machines {
            scope.spawn(move || locates(machine));
        }
    });
    for machine in machines {
        rings_and_stops(&household, machine);
    }
    let clients = household.owner.homing(&["clients", "--json"]);
    let clients = clients.expect_success().json_lines();
    let names: Vec<_> = clients
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert!(
        names.contains(&"tablet") && names.contains(&"partner"),
        "{clients:?}"
    );
    // An owner's own machine may change the account, a delegate's may not.
    let bundle = household
        .scratch
        .path()
        .join("second")
        .display()
        .to_string();
    let _ = tablet
        .machine
        .homing(&["device", "add", "second", "--out", &bundle])
        .expect_success();
    let refused = partner
        .machine
        .homing(&["device", "revoke", PHONE])
        .sentence("homing", 77);
    assert!(refused.contains("delegate"), "{refused}");
}

#[test]
fn a_delegate_cannot_do_what_it_was_not_given() {
    let household = Household::enrolled(Receiver::Simulated);
    let ringer = join(&household, "ringer", Some("ring"));
    assert_eq!(ringer.added["can"], json!(["ring"]));
    assert_eq!(ringer.added["reads"], "status");
    let refused = ringer.machine.homing(&["locate", PHONE]).expect_code(69);
    assert!(
        refused
            .stderr
            .contains("may not order locate (not-allowed); it may: ring"),
        "{refused}"
    );
    rings_and_stops(&household, &ringer.machine);

    // May ask where the phone is, may not know: the owner's machines hear the answer.
    let helper = join(&household, "helper", Some("locate"));
    let told = helper.machine.json(&["locate", PHONE]);
    assert_eq!(
        (&told["state"], &told["latitude"]),
        (&json!("done"), &Value::Null),
        "{told}"
    );
    let unknown = helper.machine.homing(&["locate", PHONE, "--last"]);
    let _ = unknown.expect_code(75);

    let out = household.scratch.path().join("never").display().to_string();
    let request = household.scratch.path().join("helper/request");
    let request = request.display().to_string();
    for can in ["erase-approve", "admin", "unlock", "fly", ""] {
        let adding = ["client", "add", &request, "--can", can, "--out", &out];
        let sentence = household.owner.homing(&adding).sentence("homing", 64);
        assert!(
            sentence.contains("--can takes some of"),
            "{can}: {sentence}"
        );
    }
}

#[test]
fn a_client_that_was_put_out_orders_nothing_and_hears_nothing() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let partner = join(&household, "partner", Some("locate,ring,read-location"));
    locates(&partner.machine);
    let known = partner.machine.json(&["locate", PHONE, "--last"]);
    let _ = household
        .owner
        .homing(&["client", "revoke", "partner"])
        .expect_success();
    phone_has_the_newest_list(&household);
    let orders = household.ledger().len();

    // The broker has not heard of it yet: the phone's list and key set alone must do.
    let answer = partner
        .machine
        .homing(&["ring", PHONE, "--for", "1m", "--wait", "2s", "--json"]);
    assert_ne!(answer.json()["state"], "running", "{answer}");
    wait_until(PATIENCE, "the phone to count the order", || {
        let refused = household.status()["agent"]["refused"].clone();
        (refused["unknown-client"].as_u64() > Some(0)).then_some(())
    });
    assert_eq!(household.sim.siren()["heard"], false);
    assert_eq!(household.ledger().len(), orders, "it leaves no trace");
    locates(&household.owner);
    let still = partner.machine.homing(&["locate", PHONE, "--wait", "2s"]);
    let _ = still.expect_code(75);
    let last = partner.machine.json(&["locate", PHONE, "--last"]);
    assert_eq!(last["number"], known["number"], "it read a newer position");

    // With the revocation list, the broker does not let it in at all.
    household.broker.restart();
    let refused = partner.machine.homing(&["devices"]).expect_success();
    assert!(refused.stderr.contains("not connected"), "{refused}");
    locates(&household.owner);
}

#[test]
fn a_list_that_was_made_while_the_phone_was_off_comes_before_the_first_order() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household.handset.stop();
    let partner = join(&household, "partner", Some("locate,ring,read-location"));
    let queued = partner
        .machine
        .json(&["ring", PHONE, "--for", "1m", "--wait", "1s"]);
    assert!(
        ["queued", "sent"].contains(&queued["state"].as_str().unwrap_or("none")),
        "{queued}"
    );
    household.broker.stop();
    household.broker.delete_database();
    household.broker.restart();
    household.handset.start();
    household.wait_connected();
    // The delegate carries the list in which it stands; nobody else is there.
    let located = partner.machine.json(&["locate", PHONE]);
    assert!(located["latitude"].is_f64(), "{located}");
    household.sim.wait_heard(PATIENCE);
    let stopped = household.owner.json(&["ring", PHONE, "--stop"]);
    assert_eq!(stopped["state"], "done", "{stopped}");
}

#[test]
fn files_that_do_not_fit_are_refused_in_a_sentence() {
    let household = Household::enrolled(Receiver::Simulated);
    let partner = join(&household, "partner", Some("ring"));
    let folder = household.scratch.path();
    let request = folder.join("partner/request").display().to_string();
    let out = folder.join("again").display().to_string();
    let again = household
        .owner
        .homing(&["client", "add", &request, "--out", &out]);
    assert!(again.sentence("homing", 64).contains("already"));
    let text = std::fs::read_to_string(&request).unwrap();
    let changed = folder.join("changed");
    std::fs::write(&changed, text.replacen(['B', 'C', 'D'], "A", 3)).unwrap();
    let changed = changed.display().to_string();
    let spoilt = household
        .owner
        .homing(&["client", "add", &changed, "--out", &out]);
    assert!(!spoilt.sentence("homing", 78).is_empty());
    let other = Owner::new(&household.scratch.folder("other"), PASSPHRASE);
    let answer = folder.join("partner/answer").display().to_string();
    let unasked = other.homing(&["client", "accept", &answer]);
    assert!(unasked.sentence("homing", 64).contains("has not asked"));
    let _ = other.homing(&["client", "request"]).expect_success();
    let foreign = other.homing(&["client", "accept", &answer]);
    assert!(foreign.sentence("homing", 78).contains("another machine"));
    let own = household.owner.json(&["status"])["client"].clone();
    let own = own.as_str().unwrap();
    let itself = household.owner.homing(&["client", "revoke", own]);
    assert!(itself.sentence("homing", 64).contains("this machine"));
    drop(partner);
}
