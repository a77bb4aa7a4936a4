//! An owner's machine is gone: what brings the account back, and what does not. The phone must notice nothing but a newer list.

use crate::clients::{join, phone_has_the_newest_list};
use e2e::{Household, Owner, PASSPHRASE, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A household whose recovery kit and code were put away.
struct Kept {
    household: Household,
    kit: PathBuf,
    code: String,
}

/// What `homing init` told the owner to keep.
fn kept() -> Kept {
    let mut household = Household::without_phone(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household.enrol();
    // The newest keyring, with the phone in it.
    let kit = household.scratch.path().join("kit.json");
    let path = kit.display().to_string();
    let _ = household
        .owner
        .homing(&["kit", "--out", &path])
        .expect_success();
    let code = household.founding["recovery_code"]
        .as_str()
        .expect("init names the recovery code")
        .to_owned();
    Kept {
        household,
        kit,
        code,
    }
}

impl Kept {
    /// The old machine burns; the broker's folder lay elsewhere.
    fn lose_the_machine(&self) {
        for name in ["homing.db", "homing.db-wal", "homing.db-shm"] {
            let _ = std::fs::remove_file(self.household.owner.home().join(name));
        }
    }

    fn recover(&mut self, way_in: &str, flags: &[&str]) -> Value {
        let owner = Owner::new(&self.household.scratch.folder("new-laptop"), way_in);
        let kit = self.kit.display().to_string();
        let arguments: Vec<&str> = ["recover", "--kit", &kit]
            .iter()
            .chain(flags)
            .copied()
            .collect();
        let said = owner.json(&arguments);
        self.household.owner = owner;
        said
    }
}

/// The machine that is now the owner's finds the phone.
fn locates_and_rings(household: &Household) {
    let found = household.owner.json(&["locate", PHONE]);
    assert!(found["latitude"].is_f64(), "{found}");
    let rung = household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    let stopped = household.owner.json(&["ring", PHONE, "--stop"]);
    assert_eq!(stopped["state"], "done", "{stopped}");
    household.sim.wait_silent(PATIENCE);
}

#[test]
fn the_kit_file_and_the_passphrase_bring_the_account_to_a_new_machine() {
    let mut kept = kept();
    kept.lose_the_machine();
    let said = kept.recover(PASSPHRASE, &[]);
    assert_eq!(said["devices"], json!([PHONE]), "{said}");
    locates_and_rings(&kept.household);
}

#[test]
fn the_kit_file_and_the_code_from_paper_do_without_the_passphrase() {
    let mut kept = kept();
    kept.lose_the_machine();
    let code = kept.code.clone();
    let said = kept.recover(&code, &["--code-fd", "0"]);
    assert_eq!(said["devices"], json!([PHONE]), "{said}");
    locates_and_rings(&kept.household);
}

#[test]
fn a_stolen_machine_loses_every_right_when_the_account_is_recovered() {
    let mut kept = kept();
    let stolen = kept.household.owner.clone();
    let before = stolen.json(&["status"])["authority_version"].as_u64();
    kept.recover(PASSPHRASE, &["--revoke-others"]);
    locates_and_rings(&kept.household);
    let after = kept.household.owner.json(&["status"])["authority_version"].as_u64();
    assert!(after > before, "{before:?} {after:?}");
    let on_the_phone = kept.household.status()["agent"]["authority_version"].as_u64();
    assert_eq!(
        on_the_phone, after,
        "the phone has the list that names the new machine"
    );

    let orders = kept.household.ledger().len();
    let answer = stolen.homing(&["ring", PHONE, "--for", "1m", "--wait", "3s", "--json"]);
    assert_ne!(answer.json()["state"], "running", "{answer}");
    wait_until(PATIENCE, "the phone to count the thief's order", || {
        let refused = kept.household.status()["agent"]["refused"].clone();
        (refused["unknown-client"].as_u64() > Some(0)).then_some(())
    });
    assert_eq!(kept.household.sim.siren()["heard"], false);
    assert_eq!(
        kept.household.ledger().len(),
        orders,
        "a stranger leaves no trace"
    );
    let found = stolen.homing(&["locate", PHONE, "--wait", "1s"]);
    assert_eq!(found.status.code(), Some(75), "{found}");
    let still = kept.household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(still["state"], "running", "{still}");
}

#[test]
fn an_old_kit_and_a_broker_that_forgot_everything_bring_the_account_back_and_nobody_who_was_put_out()
 {
    let mut kept = kept();
    let tablet = join(&kept.household, "tablet", None).machine;
    let partner = join(&kept.household, "partner", Some("locate,ring")).machine;
    let _ = kept
        .household
        .owner
        .homing(&["client", "revoke", "partner"])
        .expect_success();
    phone_has_the_newest_list(&kept.household);
    let followed = kept.household.status()["agent"]["authority_version"].as_u64();
    // Kit and broker know nothing of either; the phone follows a list that is numbered above the kit's.
    kept.lose_the_machine();
    kept.household.broker.stop();
    kept.household.broker.delete_database();
    kept.household.broker.restart();
    kept.household.wait_connected();
    let code = kept.code.clone();
    kept.recover(&code, &["--code-fd", "0"]);
    locates_and_rings(&kept.household);
    let now = kept.household.status()["agent"]["authority_version"].as_u64();
    assert!(now > followed, "{followed:?} {now:?}");
    let ring = ["ring", PHONE, "--for", "1m", "--wait", "2s", "--json"];
    for out in [&tablet, &partner] {
        assert_ne!(out.homing(&ring).json()["state"], "running");
    }
}

#[test]
fn two_machines_of_one_owner_may_both_order() {
    let mut kept = kept();
    let first = kept.household.owner.clone();
    kept.recover(PASSPHRASE, &[]);
    locates_and_rings(&kept.household);
    kept.household.owner = first;
    locates_and_rings(&kept.household);
}

#[test]
fn what_opens_nothing_is_told_in_a_sentence_and_leaves_no_half_account() {
    let kept = kept();
    let folder = kept.household.scratch.folder("new-laptop");
    let text = std::fs::read_to_string(&kept.kit).unwrap();
    let kit: Value = serde_json::from_str(&text).unwrap();
    let spoilt = |name: &str, content: &str| {
        let path = kept.household.scratch.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let with = |field: &str, value: &str| {
        let mut kit = kit.clone();
        kit[field] = json!(value);
        kit.to_string()
    };
    let keyring = kit["keyring"].as_str().unwrap();
    let good = kept.kit.display().to_string();
    let mistyped = kept.code.replacen(['0', '1', '2', '3', '4'], "5", 1);
    let foreign = "0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000";
    let code = ["--code-fd", "0"];
    let attempts: Vec<(String, &str, &[&str], i32)> = vec![
        (good.clone(), "not the passphrase", &[], 77),
        (good.clone(), &mistyped, &code, 64),
        (good.clone(), "1234", &code, 64),
        (good.clone(), foreign, &code, 64),
        (spoilt("empty", ""), PASSPHRASE, &[], 78),
        (spoilt("cut", &text[..text.len() / 2]), PASSPHRASE, &[], 78),
        (spoilt("other", "{\"format\":1}"), PASSPHRASE, &[], 78),
        (
            spoilt("version", &text.replace("\"version\": 1", "\"version\": 9")),
            PASSPHRASE,
            &[],
            78,
        ),
        (
            spoilt("secret", &with("kit_secret", "abcd")),
            PASSPHRASE,
            &[],
            78,
        ),
        (
            spoilt("base64", &with("keyring", "%%%")),
            PASSPHRASE,
            &[],
            78,
        ),
        (
            spoilt("short", &with("keyring", &keyring[..400])),
            PASSPHRASE,
            &[],
            78,
        ),
        ("/nonexistent/kit.json".to_owned(), PASSPHRASE, &[], 74),
    ];
    for (kit, way_in, flags, expected) in attempts {
        let owner = Owner::new(&folder, way_in);
        let arguments: Vec<&str> = ["recover", "--kit", &kit]
            .iter()
            .chain(flags)
            .copied()
            .collect();
        let sentence = owner.homing(&arguments).sentence("homing", expected);
        assert!(sentence.len() > 10, "{kit}: {sentence}");
        assert!(
            !owner.home().join("homing.db").exists(),
            "{kit}: half an account is left"
        );
    }
    // After all these failures the right words still work.
    let owner = Owner::new(&folder, PASSPHRASE);
    let _ = owner.homing(&["recover", "--kit", &good]).expect_success();
}

#[test]
fn an_account_a_kit_and_a_bundle_are_never_written_over() {
    let kept = kept();
    let owner = &kept.household.owner;
    let folder = owner.home().parent().unwrap().to_path_buf();
    let state = || std::fs::read(owner.home().join("broker/ca.crt")).unwrap();
    let (account, kit) = (state(), std::fs::read(&kept.kit).unwrap());
    let broker = "mqtts://127.0.0.1:1";
    let again = owner.homing(&["init", "--broker", broker, "--kit-out", "another.json"]);
    assert!(
        again
            .sentence("homing", 78)
            .contains("already holds an account")
    );
    assert!(!folder.join("another.json").exists());
    let path = kept.kit.display().to_string();
    let recovered = owner.homing(&["recover", "--kit", &path]);
    assert!(
        recovered
            .sentence("homing", 78)
            .contains("already holds an account")
    );
    let elsewhere = Owner::new(&kept.household.scratch.folder("third"), PASSPHRASE);
    let over_the_kit = elsewhere.homing(&["init", "--broker", broker, "--kit-out", &path]);
    assert!(
        over_the_kit
            .sentence("homing", 64)
            .contains("exists already")
    );
    let over_the_bundle = owner.homing(&["device", "add", "second", "--out", &path]);
    assert!(
        over_the_bundle
            .sentence("homing", 64)
            .contains("exists already")
    );
    assert_eq!((state(), std::fs::read(&kept.kit).unwrap()), (account, kit));
    assert_eq!(owner.json(&["devices"])["name"], PHONE);
}

#[test]
fn help_and_completions_need_no_account() {
    let scratch = e2e::Scratch::new();
    let owner = Owner::new(&scratch.folder("laptop"), PASSPHRASE);
    for command in [
        "init",
        "device",
        "devices",
        "locate",
        "ring",
        "log",
        "watch",
        "status",
        "kit",
        "recover",
        "completions",
    ] {
        let help = owner.homing(&[command, "--help"]).expect_success().stdout;
        assert!(help.contains("Usage: homing"), "{command}: {help}");
    }
    let help = owner.homing(&["--help"]).expect_success();
    assert!(
        help.stdout.contains("Exit codes") && help.stderr.is_empty(),
        "{help}"
    );
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = owner
            .homing(&["completions", shell])
            .expect_success()
            .stdout;
        assert!(
            script.contains("locate") && script.contains("revoke-others"),
            "{shell}"
        );
    }
    let _ = owner.homing(&["completions", "cmd.exe"]).expect_code(64);
    assert!(!owner.home().exists(), "looking for help makes nothing");
}
