//! Orders from the broker to the effect and back as receipts; the judge's rules have their tests in policy.

use homing_link::loopback::{Fate, ReleaseOrder};
use homing_protocol::command::Op;
use homing_protocol::envelope::MessageType;
use homing_protocol::keys::SigningKey;
use homing_protocol::receipt::CommandState::*;
use homing_protocol::topic::Channel;

use super::house::*;
use crate::keystore::randomness;
use crate::siren::report::{self, Phase, Report};

fn siren_says(phone: &Phone, command: Option<String>, phase: Phase) {
    let reason = (phase == Phase::Ended).then(|| report::STOPPED.to_owned());
    let said = Report {
        command,
        phase,
        reason,
        warning: None,
        boottime_ms: 1,
        pid: std::process::id(),
        started: 0,
        boot_id: phone.brain.boot_text.clone(),
    };
    said.store(&phone.brain.siren_folder).unwrap();
}

#[test]
fn a_located_phone_sends_one_report_and_says_so() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(locate());
        phone.until(|phone| phone.said(id) == [Running, Done]).await;
        phone.settle().await;
        assert_eq!(phone.reports().len(), 1);
        assert_eq!(phone.reports()[0].first, 1);
        assert!(
            phone.newest_beacon().windows.is_empty()
                || phone.newest_beacon().windows[0].has_seen(1)
        );
    });
}

#[test]
fn a_ring_orders_the_siren_and_follows_what_its_process_says() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(ring());
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        assert!(phone.is_siren_ordered());
        siren_says(&phone, Some(id.to_string()), Phase::Sounding);
        phone
            .until(|phone| phone.said(id) == [Accepted, Running])
            .await;
        let (stop, _) = phone.order(Op::RingStop { rings: vec![id] });
        phone
            .until(|phone| phone.said(id) == [Accepted, Running, Cancelled])
            .await;
        assert!(!phone.is_siren_ordered());
        assert_eq!(phone.said(stop), [Running], "it may still sound");
        siren_says(&phone, Some(id.to_string()), Phase::Ended);
        phone
            .until(|phone| phone.said(stop) == [Running, Done])
            .await;
    });
}

#[test]
fn a_siren_folder_that_could_not_be_written_gets_its_order_later() {
    run(async {
        let mut phone = Phone::new().await;
        // Whatever is in the way of a folder: a file by its name.
        let folder = phone.brain.siren_folder.clone();
        let aside = folder.with_extension("aside");
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, "").unwrap();
        let (id, _) = phone.order(ring());
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&aside, &folder).unwrap();
        phone.until(Phone::is_siren_ordered).await;
        assert_eq!(phone.said(id), [Accepted]);
    });
}

#[test]
fn odd_things_in_the_sirens_folder_neither_end_nor_hold_up_the_agent() {
    run(async {
        let mut phone = Phone::new().await;
        let folder = phone.brain.siren_folder.clone();
        std::fs::create_dir_all(folder.join("intent.json/within")).unwrap();
        nix::unistd::mkfifo(&folder.join("state.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (id, _) = phone.order(ring());
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        let found = crate::siren::intent::load(&folder).unwrap();
        assert!(matches!(found, crate::siren::intent::Found::Intent(_)));
        std::fs::remove_file(folder.join("intent.json")).unwrap();
        std::fs::create_dir_all(folder.join("intent.json/within")).unwrap();
        let (stop, _) = phone.order(Op::RingStop { rings: vec![id] });
        phone.until(|phone| phone.said(stop) == [Running]).await;
        assert!(!phone.is_siren_ordered());
    });
}

#[test]
fn a_sound_of_an_earlier_start_of_the_phone_is_not_believed() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(ring());
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        let said = Report {
            command: Some(id.to_string()),
            phase: Phase::Sounding,
            reason: None,
            warning: None,
            boottime_ms: 1,
            pid: std::process::id(),
            started: 0,
            boot_id: "an earlier one".into(),
        };
        said.store(&phone.brain.siren_folder).unwrap();
        phone.settle().await;
        assert_eq!(phone.said(id), [Accepted]);
        siren_says(&phone, Some(id.to_string()), Phase::Sounding);
        phone
            .until(|phone| phone.said(id) == [Accepted, Running])
            .await;
    });
}

#[test]
fn a_repetition_brings_every_receipt_of_the_order_again() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, sealed) = phone.order(locate());
        phone.until(|phone| phone.said(id) == [Running, Done]).await;
        phone.publish(Channel::Command, sealed);
        phone
            .until(|phone| phone.said(id) == [Running, Done, Running, Done])
            .await;
    });
}

#[test]
fn a_ring_that_ended_while_the_agent_was_away_does_not_begin_anew() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(ring());
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        siren_says(&phone, Some(id.to_string()), Phase::Sounding);
        phone
            .until(|phone| phone.said(id) == [Accepted, Running])
            .await;
        std::fs::remove_file(phone.brain.siren_folder.join("intent.json")).unwrap();
        siren_says(&phone, Some(id.to_string()), Phase::Ended);
        let mut phone = phone.restart();
        phone.until(|phone| phone.said(id).contains(&Done)).await;
        assert!(!phone.is_siren_ordered());
    });
}

#[test]
fn an_agent_that_was_killed_takes_up_search_and_siren_again() {
    run(async {
        let mut phone = Phone::new().await;
        let (ringing, _) = phone.order(ring());
        phone.until(|phone| phone.said(ringing) == [Accepted]).await;
        std::fs::remove_file(phone.brain.siren_folder.join("intent.json")).unwrap();
        let mut phone = phone.restart();
        assert!(phone.is_siren_ordered());
        phone.until(|phone| phone.brain.state.beacons() >= 2).await;
        let (located, _) = phone.order(locate());
        phone
            .until(|phone| phone.brain.state.command(located).is_some())
            .await;
        let mut phone = phone.restart();
        phone
            .until(|phone| phone.said(located).contains(&Done))
            .await;
        assert!(phone.said(ringing).iter().all(|state| *state == Accepted));
    });
}

#[test]
fn a_flood_of_one_order_is_done_once_and_costs_one_message_at_a_time() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, sealed) = phone.order(ring());
        phone.settle().await;
        // The broker is slow: the answers stay in the outbox.
        phone.hub.cut(&ADDRESS.device.to_string());
        phone.settle().await;
        for _ in 0..50 {
            phone.publish(Channel::Command, sealed.clone());
        }
        phone.hub.admit(&ADDRESS.device.to_string());
        phone.settle().await;
        let said = phone.said(id);
        assert!(said.iter().all(|state| *state == Accepted));
        assert!(said.len() <= 51, "{} answers to 50 copies", said.len());
        assert_eq!(phone.brain.state.receipts, 1, "one receipt was made");
        let rows: i64 = phone
            .brain
            .journal
            .database()
            .query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 0);
    });
}

#[test]
fn held_and_reversed_copies_have_one_effect_and_a_stop_that_comes_first_wins() {
    run(async {
        let mut phone = Phone::new().await;
        let mut owner = phone.hub.connect("owner", &[]);
        let ringing = phone.command(ring());
        let stop = phone.command(Op::RingStop {
            rings: vec![ringing.id],
        });
        let topic =
            homing_protocol::topic::Topic::Device(ADDRESS.device, Channel::Command).to_string();
        for command in [&ringing, &stop] {
            phone.hub.instruct(&topic, Fate::Hold);
            let payload = phone.seal(command, &phone.owner.client);
            let publication = homing_link::Publication {
                topic: topic.clone(),
                payload,
                retention: homing_link::Retention::Live,
            };
            homing_link::Transport::publish(&mut owner, publication).unwrap();
        }
        phone.hub.release(ReleaseOrder::Reversed);
        phone
            .until(|phone| phone.said(ringing.id) == [Cancelled])
            .await;
        assert_eq!(phone.said(stop.id), [Done]);
        assert!(!phone.is_siren_ordered());
    });
}

#[test]
fn what_strangers_send_is_counted_acknowledged_and_changes_nothing() {
    run(async {
        let mut phone = Phone::new().await;
        let before = phone.brain.state.clone();
        let command = phone.command(ring());
        let stranger = SigningKey::generate(&mut randomness());
        let mut foreign = command.clone();
        foreign.client = stranger.public().client_id();
        let mut flipped = phone.seal(&command, &phone.owner.client);
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let beacon = phone.published(Channel::Beacon).pop().unwrap();
        let messages = [
            phone.seal(&foreign, &stranger),
            phone.seal(&command, &stranger),
            flipped,
            beacon,
            Vec::new(),
            vec![0; 4000],
            vec![0xff; 70_000],
        ];
        let count = u32::try_from(messages.len()).unwrap();
        for message in messages {
            phone.publish(Channel::Command, message);
        }
        phone
            .until(|phone| phone.brain.refusals.total() == count)
            .await;
        assert_eq!(phone.brain.state, before);
        assert!(phone.receipts().is_empty() && !phone.is_siren_ordered());
        // They were acknowledged: a new connection does not bring them again.
        phone.hub.cut(&ADDRESS.device.to_string());
        phone.hub.admit(&ADDRESS.device.to_string());
        phone.settle().await;
        assert_eq!(phone.brain.refusals.total(), count);
    });
}

#[test]
fn the_status_file_tells_how_the_agent_stands_and_no_keys_or_places() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(ring());
        phone.publish(Channel::Command, vec![1]);
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        phone.settle().await;
        let status = phone.status();
        assert_eq!(status["broker"], "connected");
        assert_eq!(status["open"][0]["order"], "ring");
        assert_eq!(status["refused"]["malformed"], 1);
        assert_eq!(status["receipts"], 1);
        assert_eq!(status["pid"], std::process::id());
        phone.hub.cut(&ADDRESS.device.to_string());
        phone.settle().await;
        assert_eq!(phone.status()["broker"], "waiting");
        let text = phone.status().to_string();
        assert!(!text.contains("52.5") && !text.contains("5251"), "{text}");
    });
}

#[test]
fn an_order_on_the_wrong_topic_or_of_a_list_kind_is_no_order() {
    run(async {
        let mut phone = Phone::new().await;
        let command = phone.command(ring());
        let sealed = phone.seal(&command, &phone.owner.client);
        let enrolment = homing_protocol::envelope::seal(
            MessageType::Enrolment,
            &ADDRESS,
            &phone.identity.kem.public(),
            None,
            b"late",
            &mut randomness(),
        );
        phone.publish(Channel::Command, enrolment.unwrap());
        phone.settle().await;
        assert!(phone.receipts().is_empty());
        // The sealed bytes say what they are, whichever of the two topics brought them.
        phone.publish(Channel::Authority, sealed);
        phone
            .until(|phone| phone.said(command.id) == [Accepted])
            .await;
    });
}
