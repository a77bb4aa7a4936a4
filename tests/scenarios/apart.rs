//! Two machines of one owner change the account apart. The phone must never follow both, nobody who was put out may come back, and everybody is told.

use crate::clients::{Joined, join, locates, phone_has_the_newest_list, rings_and_stops};
use e2e::{Household, Intruder, Owner, PASSPHRASE, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::Value;

/// A household with a second machine of the owner's and a partner; the broker is off.
struct Apart {
    household: Household,
    tablet: Owner,
    partner: Owner,
}

impl Apart {
    fn new() -> Self {
        let household = Household::enrolled(Receiver::Simulated);
        let Joined {
            machine: tablet, ..
        } = join(&household, "tablet", None);
        let can = Some("locate,ring,read-location");
        let Joined {
            machine: partner, ..
        } = join(&household, "partner", can);
        // It takes over the list with the partner in it.
        let kit = household.scratch.path().join("tablets-kit");
        let kit = kit.display().to_string();
        let _ = tablet.homing(&["status"]).expect_success();
        let _ = tablet
            .homing(&["kit", "--show", "--out", &kit])
            .expect_success();
        phone_has_the_newest_list(&household);
        Self {
            household,
            tablet,
            partner,
        }
    }

    /// A request of a machine called `name`, and where its answer goes.
    fn asks(&self, name: &str) -> (Owner, String, String) {
        let folder = self.household.scratch.folder(name);
        let machine = Owner::new(&folder, PASSPHRASE);
        let [request, answer] =
            ["request", "answer"].map(|file| folder.join(file).display().to_string());
        let _ = machine.json(&["client", "request", "--name", name, "--out", &request]);
        (machine, request, answer)
    }

    /// The laptop adds a friend and the tablet puts the partner out, neither knowing of the other.
    fn change_both(&mut self) -> Owner {
        self.household.broker.stop();
        let (friend, request, answer) = self.asks("friend");
        let adding = [
            "client",
            "add",
            &request,
            "--can",
            "locate,ring",
            "--out",
            &answer,
        ];
        let _ = self.household.owner.homing(&adding).expect_success();
        let _ = self
            .tablet
            .homing(&["client", "revoke", "partner"])
            .expect_success();
        self.household.broker.restart();
        let _ = friend
            .homing(&["client", "accept", &answer])
            .expect_success();
        friend
    }

    /// The version of the list that the phone follows.
    fn followed(&self) -> Option<u64> {
        self.household.status()["agent"]["authority_version"].as_u64()
    }
}

/// Who stands in a machine's list, by name.
fn clients(machine: &Owner) -> Vec<String> {
    let lines = machine
        .homing(&["client", "list", "--json"])
        .expect_success()
        .json_lines();
    let mut names: Vec<String> = lines
        .iter()
        .filter_map(|line| line["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn alarms(machine: &Owner) -> String {
    machine.json(&["status"])["alarms"].to_string()
}

/// What was told of changes made apart that came to an end.
fn ended(machine: &Owner) -> Vec<String> {
    let status = machine.json(&["status"]);
    let forks = status["forks"].as_array().cloned().unwrap_or_default();
    let ended = |fork: &Value| !fork["ended_at"].is_null();
    forks
        .iter()
        .filter(|fork| ended(fork))
        .map(|fork| fork["outcome"].to_string())
        .collect()
}

#[test]
fn two_machines_that_changed_the_account_apart_end_with_one_list_and_everybody_is_told() {
    let mut apart = Apart::new();
    let before = apart.followed();
    let friend = apart.change_both();
    apart.household.wait_connected();
    // The laptop comes first: the phone follows its list, in which the partner still stands.
    let _ = apart.household.owner.json(&["status"]);
    phone_has_the_newest_list(&apart.household);
    let first = apart.followed();
    assert!(first > before);
    wait_until(PATIENCE, "the tablet to notice", || {
        let told = alarms(&apart.tablet);
        (told.contains("another authority list") && told.contains("at the same time")).then_some(())
    });
    assert_eq!(apart.followed(), first, "the phone follows one side");
    // Whoever has the passphrase makes one of both; here the tablet's watch.
    let watch = apart.tablet.start("tablet-watch", &["watch"]);
    wait_until(PATIENCE, "the phone to follow the list of both", || {
        (apart.followed() > first).then_some(())
    });
    wait_until(PATIENCE, "the partner to be out and the friend in", || {
        let names = clients(&apart.tablet);
        let has = |name: &str| names.iter().any(|one| one == name);
        (has("friend") && has("tablet") && !has("partner")).then_some(())
    });
    drop(watch);
    let told = ended(&apart.tablet);
    let story = told.iter().find(|outcome| outcome.contains("partner"));
    assert!(
        story.is_some_and(|told| told.contains("friend")),
        "{told:?}"
    );
    rings_and_stops(&apart.household, &friend);
    locates(&apart.household.owner);
    let orders = apart.household.ledger().len();
    let ring = ["ring", PHONE, "--for", "1m", "--wait", "2s", "--json"];
    assert_ne!(apart.partner.homing(&ring).json()["state"], "running");
    assert_eq!(
        apart.household.ledger().len(),
        orders,
        "no trace of the partner"
    );
    // The laptop takes the list over, and nothing is open any more.
    let kit = apart.household.scratch.path().join("laptops-kit");
    let kit = kit.display().to_string();
    let taking = ["kit", "--show", "--out", &kit];
    let _ = apart.household.owner.homing(&taking).expect_success();
    assert_eq!(clients(&apart.household.owner), clients(&apart.tablet));
    for machine in [&apart.household.owner, &apart.tablet] {
        wait_until(PATIENCE, "nothing to be open any more", || {
            (alarms(machine) == "[]").then_some(())
        });
    }
}

#[test]
fn a_phone_that_was_away_meanwhile_follows_neither_side_but_what_became_of_both() {
    let mut apart = Apart::new();
    let before = apart.followed();
    apart.household.handset.stop();
    let friend = apart.change_both();
    // Both machines show their side; then the laptop makes one of both.
    let _ = apart.household.owner.json(&["status"]);
    let _ = apart.tablet.json(&["status"]);
    let kit = apart.household.scratch.path().join("laptops-kit");
    let kit = kit.display().to_string();
    let _ = apart.household.owner.json(&["status"]);
    let merging = apart
        .household
        .owner
        .homing(&["kit", "--show", "--out", &kit])
        .expect_success();
    assert!(
        merging.stderr.contains("partner") && merging.stderr.contains("friend"),
        "{merging}"
    );
    let _ = apart.household.owner.json(&["status"]);
    apart.household.handset.start();
    apart.household.wait_connected();
    rings_and_stops(&apart.household, &apart.household.owner);
    assert!(apart.followed() > before.map(|version| version + 1));
    rings_and_stops(&apart.household, &friend);
    let orders = apart.household.ledger().len();
    let ring = ["ring", PHONE, "--for", "1m", "--wait", "2s", "--json"];
    assert_ne!(apart.partner.homing(&ring).json()["state"], "running");
    assert_eq!(apart.household.ledger().len(), orders);
}

#[test]
fn a_broker_that_hides_the_other_side_is_noticed_and_brings_nobody_back() {
    let mut apart = Apart::new();
    let tap = apart.household.broker.turn_hostile();
    let thief = Intruder::plain(apart.household.scratch.path(), tap);
    apart.household.wait_connected();
    let mut heard = thief.listen(&["homing/v1/account/+/keyring", "homing/v1/+/+/authority"]);
    let old = heard.wait_for(PATIENCE, "the keyring", |message| {
        message.topic.ends_with("keyring")
    });
    let old_list = heard.wait_for(PATIENCE, "a list", |message| {
        message.topic.ends_with("authority")
    });
    let friend = apart.change_both();
    apart.household.wait_connected();
    // The tablet's side reaches the phone, in which the partner is out; the broker keeps it from the laptop.
    let _ = apart.tablet.json(&["status"]);
    wait_until(PATIENCE, "the phone to follow the tablet's list", || {
        let _ = apart.tablet.json(&["status"]);
        let newest = apart.tablet.json(&["status"])["authority_version"].as_u64();
        (apart.followed() == newest).then_some(())
    });
    thief.publish_retained(&old.topic, &old.payload).unwrap();
    let followed = apart.followed();
    wait_until(PATIENCE, "the laptop to notice", || {
        alarms(&apart.household.owner)
            .contains("another authority list")
            .then_some(())
    });
    // Whom the other side has put out might come back by a list of the laptop's: it makes none.
    let refused = apart
        .household
        .owner
        .homing(&["client", "revoke", "friend"])
        .expect_code(75);
    assert!(refused.stderr.contains("--all-others"), "{refused}");
    // An old list is refused by the phone, which counts it.
    let topic = old_list.topic.clone();
    thief.publish(&topic, &old_list.payload).unwrap();
    wait_until(PATIENCE, "the phone to count the old list", || {
        let refused = apart.household.status()["agent"]["refused"].clone();
        (refused["stale"].as_u64() > Some(0)).then_some(())
    });
    assert_eq!(apart.followed(), followed);
    // The other machine is gone for good: this one goes on alone, above both lists.
    let alone = ["client", "revoke", "--all-others"];
    let _ = apart.household.owner.homing(&alone).expect_success();
    phone_has_the_newest_list(&apart.household);
    assert!(apart.followed() > followed);
    rings_and_stops(&apart.household, &apart.household.owner);
    let ring = ["ring", PHONE, "--for", "1m", "--wait", "2s", "--json"];
    for out in [&friend, &apart.partner, &apart.tablet] {
        assert_ne!(out.homing(&ring).json()["state"], "running");
    }
}
