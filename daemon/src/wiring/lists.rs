//! Lists that ROOT signed, and orders that wait for them.

use homing_link::{Publication, Retention};
use homing_protocol::authority::Capabilities;
use homing_protocol::command::{Command, Op};
use homing_protocol::envelope::MessageType;
use homing_protocol::id::SessionId;
use homing_protocol::receipt::CommandState::*;
use homing_protocol::topic::{Channel, Topic};

use super::house::*;

/// An order of the guest, who stands in the second list.
fn guests(phone: &mut Phone, seq: u64, op: Op) -> Command {
    let mut command = phone.command(op);
    command.client = phone.owner.guest.public().client_id();
    command.session = SessionId([6; 8]);
    command.seq = seq;
    command.authority_version = 2;
    command
}

#[test]
fn an_order_that_comes_before_its_list_waits_for_it() {
    run(async {
        let mut phone = Phone::new().await;
        let (first, second) = (
            guests(&mut phone, 1, Op::Status),
            guests(&mut phone, 2, locate()),
        );
        let beacons = phone.brain.state.beacons();
        for _ in 0..40 {
            phone.publish(Channel::Command, phone.seal(&first, &phone.owner.guest));
        }
        let copy = phone.seal(&second, &phone.owner.guest);
        for _ in 0..40 {
            phone.publish(Channel::Command, copy.clone());
        }
        phone.settle().await;
        assert!(phone.receipts().is_empty());
        assert!(phone.brain.parked.len() <= 16);
        assert!(
            phone.brain.state.beacons() <= beacons + 2,
            "waiting orders are no reason for a beacon each"
        );
        let list = phone.owner.list(
            2,
            &[
                (&phone.owner.client, Capabilities::full()),
                (&phone.owner.guest, only_locate()),
            ],
        );
        phone.publish_list(MessageType::Authority, &list);
        phone
            .until(|phone| phone.said(first.id).contains(&Done))
            .await;
        phone
            .until(|phone| phone.newest_beacon().authority_version == 2)
            .await;
        // What found no room comes again from its sender.
        phone.publish(Channel::Command, copy);
        phone
            .until(|phone| phone.said(second.id).contains(&Done))
            .await;
    });
}

#[test]
fn a_copy_of_a_waiting_order_takes_no_second_place() {
    run(async {
        let mut phone = Phone::new().await;
        let command = guests(&mut phone, 1, Op::Status);
        let copy = phone.seal(&command, &phone.owner.guest);
        for _ in 0..5 {
            phone.publish(Channel::Command, copy.clone());
        }
        phone.settle().await;
        assert_eq!(phone.brain.parked.len(), 1);
    });
}

#[test]
fn a_revoked_client_and_a_missing_right_are_refused() {
    run(async {
        let mut phone = Phone::new().await;
        let list = phone.owner.list(2, &[(&phone.owner.guest, only_locate())]);
        phone.publish_list(MessageType::Authority, &list);
        let (revoked, _) = phone.order(ring());
        let mut forbidden = guests(&mut phone, 1, ring());
        forbidden.authority_version = 2;
        phone.publish(Channel::Command, phone.seal(&forbidden, &phone.owner.guest));
        phone
            .until(|phone| phone.said(forbidden.id) == [Refused])
            .await;
        assert!(phone.said(revoked).is_empty(), "a stranger gets no answer");
        assert!(!phone.is_siren_ordered());
    });
}

#[test]
fn older_and_forked_lists_are_counted_and_a_newer_one_survives_a_restart() {
    run(async {
        let mut phone = Phone::new().await;
        let both = [
            (&phone.owner.client, Capabilities::full()),
            (&phone.owner.guest, only_locate()),
        ];
        let (second, forked, first) = (
            phone.owner.list(2, &both),
            phone.owner.list(2, &both[..1]),
            phone.owner.list(1, &both[..1]),
        );
        for list in [&second, &forked, &first, &second] {
            phone.publish_list(MessageType::Authority, list);
        }
        phone.publish_list(MessageType::KeySet, &phone.owner.key_set(7));
        phone.until(|phone| phone.brain.state.key_set.0 == 7).await;
        assert_eq!(phone.brain.state.authority.1, second);
        phone.settle().await;
        let refused = phone.status()["refused"].clone();
        assert_eq!(
            (&refused["forked"], &refused["stale"]),
            (&1.into(), &1.into())
        );
        let phone = phone.restart();
        assert_eq!(phone.brain.authority.version, 2);
        assert_eq!(phone.brain.journal.scribe.readers.version, 7);
    });
}

#[test]
fn a_list_of_another_root_changes_nothing() {
    run(async {
        let mut phone = Phone::new().await;
        let other = Owner::new();
        phone.publish_list(
            MessageType::Authority,
            &other.list(9, &[(&other.client, Capabilities::full())]),
        );
        phone.publish_list(MessageType::KeySet, &other.key_set(9));
        phone.until(|phone| phone.brain.refusals.total() == 2).await;
        assert_eq!(
            (phone.brain.state.authority.0, phone.brain.state.key_set.0),
            (1, 1)
        );
    });
}

#[test]
fn an_order_that_somebody_made_the_broker_keep_is_done_once_however_often_it_is_brought() {
    run(async {
        let mut phone = Phone::new().await;
        let command = phone.command(ring());
        let payload = phone.seal(&command, &phone.owner.client);
        let topic = Topic::Device(ADDRESS.device, Channel::Command).to_string();
        phone.hub.inject(&Publication {
            topic,
            payload,
            retention: Retention::Retained,
        });
        phone
            .until(|phone| phone.said(command.id).contains(&Accepted))
            .await;
        for _ in 0..3 {
            phone.hub.cut(&ADDRESS.device.to_string());
            phone.hub.admit(&ADDRESS.device.to_string());
            phone.settle().await;
        }
        assert_eq!(phone.brain.state.receipts, 1);
        assert!(
            phone
                .said(command.id)
                .iter()
                .all(|state| *state == Accepted)
        );
    });
}
