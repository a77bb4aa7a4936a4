//! What an owner believes of lost mode, and who signs its end. Locks nothing.
use super::*;
use crate::renewal;
use homing_protocol::command::{Command, LONGEST_MESSAGE};
use homing_protocol::lost::{Attestation, CodeVerifier, Outcome};

fn lost() -> Op {
    Op::Lost {
        message: "m".repeat(LONGEST_MESSAGE),
        contact: None,
        code: None,
    }
}

/// A detail with the word of whoever has this key.
fn attested(
    house: &Pretended,
    key: &homing_protocol::keys::SigningKey,
    command: &Command,
    outcome: Outcome,
) -> Detail {
    let address = house.invitation.address;
    let word = Attestation::sign(key, (&address, 1), command.id, outcome, 1);
    Detail {
        text: Some(outcome.words().into()),
        attestation: Some(word),
        ..Detail::default()
    }
}

#[tokio::test]
async fn what_the_privileged_half_has_not_attested_has_not_happened() {
    let mut house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let id = house.order(lost());
    let bytes = order_at_phone(&mut owner, &mut link).await;
    let command = house.phone.verify(&bytes, &house.authority());
    let actor = house.phone.actor.clone();
    let foreign = homing_protocol::keys::SigningKey::generate(&mut rng());
    // The agent says that it locked the phone and was told to open it again, with no word, another's, and of another deed.
    for (to, detail) in [
        (CommandState::Running, Detail::default()),
        (
            CommandState::Running,
            attested(&house, &foreign, &command, Outcome::Locked),
        ),
        (
            CommandState::Running,
            attested(&house, &actor, &command, Outcome::EndedByCode),
        ),
        (
            CommandState::Done,
            attested(&house, &actor, &command, Outcome::Locked),
        ),
    ] {
        let receipt = house.phone.receipt(&command, to, &detail);
        hub.inject(&house.phone.publication(Channel::Receipt, receipt));
    }
    until(&mut owner, "the agent's word", |store| {
        state(store, id) == State::Delivered
    })
    .await;
    let order = owner.store.order(id).expect("known");
    let last = order.progress.steps().last().expect("a step");
    assert!(last.detail.contains("its privileged half does not"));
    // In part, the privileged half says; the agent's text does not make a whole of it.
    let mut detail = attested(&house, &actor, &command, Outcome::LockedInPart);
    detail.text = Some("locked".into());
    let receipt = house
        .phone
        .receipt(&command, CommandState::Running, &detail);
    hub.inject(&house.phone.publication(Channel::Receipt, receipt));
    until(&mut owner, "locked", |store| {
        state(store, id) == State::Running
    })
    .await;
    let order = owner.store.order(id).expect("known");
    let steps = order.progress.steps();
    let details: Vec<_> = steps.iter().map(|step| step.detail.as_str()).collect();
    // Queued, sent; what the agent claimed twice; running.
    assert_eq!(details[..2], ["", ""]);
    assert!(details[2].starts_with("running, says the phone's agent"));
    assert!(details[3].starts_with("done, says the phone's agent"));
    assert_eq!(details[4..], ["locked in part: locked"]);
}

#[tokio::test]
async fn the_end_of_lost_mode_is_signed_by_the_full_key_alone_and_waits_for_it() {
    let house = household();
    let hub = Hub::new();
    let (mut owner, mut link) = joined(&house, &hub).await;
    let mut account = house.account.clone();
    renewal::change(&mut owner.store, &mut account, |_, next| {
        let _ = next.list_full_client()?;
        Ok(())
    })
    .expect("listed");
    let id = house.order(Op::LostOff {
        episodes: Vec::new(),
    });
    let later = house.order(Op::Status);
    let bytes = order_at_phone(&mut owner, &mut link).await;
    let list = account.authority().expect("a list");
    let first = house.phone.verify(&bytes, &list);
    assert_eq!(first.id, later, "the end waits for somebody who unlocks");
    assert_eq!(state(&owner.store, id), State::Queued);
    let full = account.full_client().public().client_id();
    // Whoever unlocks the account for other phones signs no end that somebody has left behind.
    for acceptance in [
        Acceptance::All(Box::new(account.clone())),
        Acceptance::Only(
            homing_protocol::id::DeviceId([9; 16]),
            Box::new(account.clone()),
        ),
    ] {
        owner.acceptance = acceptance;
        owner.restless = true;
        owner.look().expect("looked");
        assert_eq!(
            owner.store.order(id).expect("known").progress.steps().len(),
            1
        );
    }
    owner.acceptance = Acceptance::Only(house.device(), Box::new(account));
    owner.restless = true;
    let signed = loop {
        let bytes = order_at_phone(&mut owner, &mut link).await;
        let signed = house.phone.verify(&bytes, &list);
        if signed.id == id {
            break signed;
        }
    };
    assert_eq!(signed.client, full);
    assert_ne!(signed.session, first.session);
}

#[tokio::test]
async fn a_lock_with_a_code_is_signed_by_the_full_key_at_once_although_the_phone_knows_no_list_with_it()
 {
    let house = household();
    let hub = Hub::new();
    // Listed before anything of this call began, as `homing lost` does.
    let mut account = house.account.clone();
    renewal::change(&mut house.store(), &mut account, |_, next| {
        let _ = next.list_full_client()?;
        Ok(())
    })
    .expect("listed");
    let (mut owner, mut link) = joined(&house, &hub).await;
    let code = account.unlock_code(homing_protocol::id::CommandId([7; 16]));
    let op = Op::Lost {
        message: "Please call".into(),
        contact: None,
        code: Some(CodeVerifier::of(&code, &mut rng())),
    };
    // Of this moment: an older order waits for no list.
    let now_s = u64::try_from(UnixMs::now().0 / 1_000).expect("after 1970");
    let id = house.order_of(op, now_s);
    let list = account.authority().expect("a list");
    let full = account.full_client().public().client_id();
    owner.restless = true;
    owner.look().expect("looked");
    let signed = owner.store.outbox().expect("read");
    let lock = |rows: &[crate::store::OutboxRow]| {
        let row = rows.iter().find(|row| row.intent.id == id);
        row.expect("it is open").envelope.is_some()
    };
    assert!(!lock(&signed), "nobody who may only lock chooses a code");
    // The phone has shown no list but its first one; whoever waited for it here would leave before it could be signed.
    owner.acceptance = Acceptance::Only(house.device(), Box::new(account));
    owner.restless = true;
    owner.look().expect("looked");
    assert!(
        lock(&owner.store.outbox().expect("read")),
        "in this very look"
    );
    let bytes = order_at_phone(&mut owner, &mut link).await;
    assert_eq!(house.phone.verify(&bytes, &list).client, full);
}
