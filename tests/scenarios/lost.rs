//! A lost phone is locked with its owner's words, by its account alone: through kills and restarts, against an agent that was taken over, and given back as it was.

use crate::clients::join;
use crate::story::{residents, steps, text};
use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use homing_protocol::Refusal;
use homing_protocol::actor::{Answer, CodeAnswer, Request};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A household whose phone can be locked; its user has a session open.
fn household() -> Household {
    let mut household = Household::without_phone(Receiver::Simulated);
    household.enrol();
    household.handset.start_lock();
    household
}

fn session(household: &Household) -> Value {
    household.sim.ask(json!({"get": "world"}))["session"].clone()
}

/// Waits until this line stands on the phone's screen.
#[track_caller]
fn wait_shown(household: &Household, line: &str) {
    wait_until(PATIENCE, &format!("\"{line}\" on the screen"), || {
        let screen = household.sim.ask(json!({"get": "screen"}));
        let lines = screen["text"].as_array()?;
        let shown = lines.iter().filter_map(Value::as_str);
        shown
            .collect::<Vec<_>>()
            .join(" ")
            .contains(line)
            .then_some(())
    });
}

/// Waits until the user's session is what is seen.
#[track_caller]
fn wait_session(household: &Household) {
    wait_until(PATIENCE, "the user's session", || {
        let screen = household.sim.ask(json!({"get": "screen"}));
        (screen["shows"] == "session" && session(household) == "open").then_some(())
    });
}

fn lose(household: &Household, message: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["lost", PHONE, "--message", message];
    arguments.extend(more);
    household.owner.json(&arguments)
}

/// Waits until the owner's log has an end of this order, and gives its entry.
#[track_caller]
fn wait_end(household: &Household, order: &Value) -> Value {
    wait_until(PATIENCE, "the order's end", || {
        let mut log = household.log().into_iter();
        let entry = log.find(|entry| entry["id"] == order["id"])?;
        let last = *steps(&entry).last()?;
        let is_over = !["queued", "sent", "delivered", "running"].contains(&last);
        is_over.then_some(entry)
    })
}

fn mode(household: &Household) -> Value {
    household.owner.json(&["device", "show", PHONE])["mode"].clone()
}

fn tell(household: &Household, request: &Request) -> Answer {
    Answer::decode(&household.handset.tell_actor(&request.encode())).unwrap()
}

fn typed(household: &Household, digits: &str) -> CodeAnswer {
    let digits = Zeroizing::new(digits.to_owned());
    match tell(household, &Request::Code { digits }) {
        Answer::Code(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn is_lost(household: &Household) -> bool {
    match tell(household, &Request::Standing) {
        Answer::Standing { open, actor } => {
            assert!(actor.is_some());
            assert_eq!(open.is_some(), household.handset.notice().exists());
            open.is_some()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_phone_shows_its_owners_words_until_its_account_ends_that() {
    let mut household = household();
    wait_session(&household);
    let contact = "+49 170 1234567";
    let order = lose(&household, "Please bring me home", &["--phone", contact]);
    assert_eq!(order["state"], "running");
    assert_eq!(order["unlock_code"], Value::Null);
    assert_eq!(session(&household), "ended");
    wait_shown(&household, "Please bring me home");
    wait_shown(&household, contact);
    wait_until(PATIENCE, "its owner to see that it is lost", || {
        (mode(&household) == "lost").then_some(())
    });

    // Everything of ours dies at once, and begins again: the phone is locked all the while.
    household.handset.kill9_agent();
    household.handset.kill9_actor();
    household.handset.kill9_lost_screen();
    assert_eq!(session(&household), "ended");
    household.handset.start();
    household.handset.start_lock();
    wait_shown(&household, "Please bring me home");
    assert!(is_lost(&household));

    // Another message takes the first one's place.
    let second = lose(&household, "Ruf mich an", &["--phone", contact]);
    assert_eq!(second["state"], "running");
    wait_shown(&household, "Ruf mich an");
    assert_eq!(wait_end(&household, &order)["state"], "superseded");

    let end = household.owner.json(&["lost", PHONE, "--off"]);
    assert_eq!(end["state"], "done");
    wait_session(&household);
    assert!(!is_lost(&household));
    assert_eq!(wait_end(&household, &second)["state"], "done");
    wait_until(PATIENCE, "its owner to see that it is not", || {
        (mode(&household) == "normal").then_some(())
    });
    let ledger = household.ledger();
    let words: Vec<_> = ledger.iter().map(|entry| &entry["order"]).collect();
    for word in ["lost", "lost-off"] {
        assert!(words.contains(&&json!(word)), "{word}: {words:?}");
    }
    let again = household.owner.homing(&["lost", PHONE, "--off"]);
    let said = again.expect_success().stdout;
    assert!(said.contains("was not in lost mode"), "{said}");
}

#[test]
fn a_machine_that_only_looks_learns_what_another_one_of_the_same_owner_heard() {
    let household = household();
    let tablet = join(&household, "tablet", None);
    let order = lose(&household, "Please bring me home", &[]);
    let before = residents(&household);
    let _watch = tablet.machine.start("watch", &["watch"]);
    wait_until(PATIENCE, "the tablet's watch to be connected", || {
        (residents(&household) > before).then_some(())
    });
    // The broker has somebody to give each answer to, so the phone has no reason to keep it for this machine.
    let ended = tablet.machine.json(&["lost", PHONE, "--off"]);
    assert_eq!(ended["state"], "done");
    assert_eq!(wait_end(&household, &order)["state"], "done");
}

#[test]
fn the_unlock_code_opens_a_phone_that_nobody_can_reach() {
    let mut household = household();
    let order = lose(&household, "Please call", &["--show-code"]);
    let code = text(&order["unlock_code"]).to_owned();
    assert_eq!(code.len(), 8);
    let shown = household.owner.json(&["lost", PHONE, "--show-code"]);
    assert_eq!(shown["unlock_code"], order["unlock_code"]);
    household.broker.kill9();
    let wrong = if code == "00000000" {
        "00000001"
    } else {
        "00000000"
    };
    for free in (0..5).rev() {
        let wait_s = if free == 0 { 60 } else { 0 };
        assert_eq!(typed(&household, wrong), CodeAnswer::Wrong { wait_s });
    }
    // Neither the right code nor a fresh process is quicker.
    assert!(matches!(typed(&household, &code), CodeAnswer::Wait { .. }));
    household.handset.kill9_actor();
    household.handset.set_clock_rate(100);
    household.handset.start_lock();
    wait_until(PATIENCE, "a minute of the phone's clock", || {
        match typed(&household, &code) {
            CodeAnswer::Right => Some(()),
            CodeAnswer::Wait { .. } => None,
            other => panic!("{other:?}"),
        }
    });
    wait_session(&household);
    assert!(!is_lost(&household));
    household.broker.restart();
    let ended = wait_end(&household, &order);
    let last = ended["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["detail"], "unlocked with the code");
}

#[test]
fn an_order_to_lock_waits_for_a_phone_that_is_away_and_one_that_was_taken_back_never_locks() {
    let mut household = household();
    household.handset.stop();
    let taken_back = lose(&household, "never shown", &["--wait", "0s"]);
    let off = household
        .owner
        .homing(&["lost", PHONE, "--off", "--wait", "2s"]);
    let said = off.sentence("homing", 75);
    assert!(said.contains("has not answered"), "{said}");
    let waiting = lose(&household, "Please call", &["--wait", "0s"]);
    household.handset.start();
    household.handset.start_lock();
    household.start_watch();
    wait_shown(&household, "Please call");
    let first = wait_end(&household, &taken_back);
    assert!(!steps(&first).contains(&"running"), "{first}");
    wait_until(PATIENCE, "its owner to know that it is locked", || {
        let mut log = household.log().into_iter();
        let second = log.find(|order| order["id"] == waiting["id"])?;
        (second["state"] == "running").then_some(())
    });
    // A phone whose owner is at the very same machine is unlocked although `homing watch` sends too.
    assert_eq!(
        household.owner.json(&["lost", PHONE, "--off"])["state"],
        "done"
    );
    wait_session(&household);
}

#[test]
fn an_agent_that_was_taken_over_can_neither_lock_a_phone_nor_open_it() {
    let household = household();
    // Bytes of any kind, and a flood of them.
    let mut packets: Vec<Vec<u8>> = vec![Vec::new(), vec![0], vec![0xff; 9_000], b"{}".to_vec()];
    let forged = Request::Order {
        authority: vec![7; 200],
        command: vec![7; 300],
    };
    let whole = forged.encode();
    packets.extend(
        (0..whole.len())
            .step_by(29)
            .map(|end| whole[..end].to_vec()),
    );
    for packet in packets.iter().filter(|packet| !packet.is_empty()) {
        assert_eq!(household.handset.tell_actor(packet), b"", "it only closes");
    }
    assert!(matches!(tell(&household, &forged), Answer::Refused(_)));
    for _ in 0..200 {
        assert_eq!(typed(&household, "12345678"), CodeAnswer::NoEpisode);
    }
    assert_eq!(session(&household), "open");
    let order = lose(&household, "Please call", &[]);
    assert_eq!(order["state"], "running");
    // It can ask for challenges without end, and answer none of them.
    for _ in 0..200 {
        let challenge = tell(&household, &Request::Challenge);
        assert!(matches!(challenge, Answer::Challenge(_)));
    }
    assert_eq!(
        tell(&household, &forged),
        Answer::Refused(Refusal::NotCanonical)
    );
    assert!(is_lost(&household));
    // Whoever keeps silent on many connections keeps nobody out.
    let silent: Vec<_> = (0..40).map(|_| household.handset.call_actor()).collect();
    assert!(is_lost(&household));
    drop(silent);
    assert_eq!(
        household.owner.json(&["lost", PHONE, "--off"])["state"],
        "done"
    );
    wait_session(&household);
}

#[test]
fn a_privileged_half_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let mut household = household();
    household.start_watch();
    for round in 0..5_u32 {
        let order = lose(&household, &format!("round {round}"), &["--wait", "0s"]);
        kill_soon(&mut household, round);
        wait_shown(&household, &format!("round {round}"));
        assert!(is_lost(&household));
        wait_until(PATIENCE, "the owner to know", || {
            let mut log = household.log().into_iter();
            let entry = log.find(|entry| entry["id"] == order["id"])?;
            (entry["state"] == "running").then_some(())
        });
        let mut end = household.owner.start(
            &format!("off-{round}"),
            &["lost", PHONE, "--off", "--wait", "110s"],
        );
        kill_soon(&mut household, round);
        let status = end.wait(PATIENCE * 4);
        assert!(status.success(), "{status}: {}", end.log());
        wait_session(&household);
        assert!(!is_lost(&household));
        assert_eq!(wait_end(&household, &order)["state"], "done");
    }
}

/// Kills the privileged half a little later in each round, some milliseconds into its work, and starts it again.
fn kill_soon(household: &mut Household, round: u32) {
    let folder = household.handset.state().join("actor");
    let before = written(&folder);
    // Until its memory has changed, or the order is not there yet: then this kill meets it before its work.
    let until = std::time::Instant::now() + std::time::Duration::from_millis(200);
    while written(&folder) == before && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    let spin = std::time::Instant::now() + std::time::Duration::from_micros(u64::from(round) * 700);
    while std::time::Instant::now() < spin {
        std::thread::yield_now();
    }
    household.handset.kill9_actor();
    household.handset.start_lock();
}

fn written(folder: &std::path::Path) -> Option<std::time::SystemTime> {
    let state = std::fs::metadata(folder.join("state.cbor")).ok()?;
    state.modified().ok()
}
