//! Joining: whose answer counts, and what a power cut may leave.

use homing_link::loopback::{Hub, Loopback};
use homing_link::{Publication, Retention};
use homing_protocol::enrolment::Claim;
use homing_protocol::keys::{Psk, SigningKey};
use homing_protocol::topic::{Channel, Topic, device_filters};
use tempfile::TempDir;

use super::house::*;
use crate::agent::open_state;
use crate::config::Settings;
use crate::crash::CrashPoint;
use crate::enrol::join;
use crate::keystore::{Identity, randomness};
use crate::membership;

struct Newcomer {
    folder: TempDir,
    owner: Owner,
    secret: Psk,
    identity: Identity,
    hub: Hub,
    transport: Loopback,
}

impl Newcomer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::new();
        let secret = Psk::generate(&mut randomness());
        let given = Psk(secret.0.clone());
        let identity = Identity::create(folder.path(), owner.bundle(given), 1).unwrap();
        identity.store(folder.path()).unwrap();
        let hub = Hub::new();
        let filters = device_filters(ADDRESS.device);
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let transport = hub.connect(&ADDRESS.device.to_string(), &filters);
        Self {
            folder,
            owner,
            secret,
            identity,
            hub,
            transport,
        }
    }

    fn send(&self, payload: Vec<u8>) {
        let topic = Topic::Device(ADDRESS.device, Channel::Command).to_string();
        self.hub.inject(&Publication {
            topic,
            payload,
            retention: Retention::Live,
        });
    }

    fn claims(&self) -> Vec<Vec<u8>> {
        let topic = Topic::Device(ADDRESS.device, Channel::Enrol).to_string();
        let seen = self
            .hub
            .seen()
            .into_iter()
            .filter(|seen| seen.topic == topic);
        seen.map(|seen| seen.payload).collect()
    }

    /// Joins; `false` when the answers so far do not suffice.
    async fn join(&mut self) -> bool {
        let mut crash = CrashPoint::default();
        let joining = join(
            &mut self.transport,
            &mut self.identity,
            self.folder.path(),
            "model",
            &mut crash,
        );
        let patience = std::time::Duration::from_millis(200);
        tokio::time::timeout(patience, joining)
            .await
            .is_ok_and(|facts| !facts.unwrap().is_empty())
    }

    fn stored(&self) -> Identity {
        Identity::load(self.folder.path()).unwrap().unwrap()
    }
}

#[test]
fn a_claim_is_answered_once_and_cleared_from_the_broker() {
    run(async {
        let mut newcomer = Newcomer::new();
        assert!(!newcomer.join().await);
        let claim = newcomer.claims().pop().unwrap();
        let claim = Claim::open(
            &claim,
            &ADDRESS,
            1,
            &newcomer.owner.claims,
            &newcomer.secret,
        )
        .unwrap();
        assert_eq!(claim.keys, newcomer.identity.public());
        newcomer.send(newcomer.owner.answer(&newcomer.identity, &newcomer.secret));
        assert!(newcomer.join().await);
        assert_eq!(newcomer.claims().pop(), Some(Vec::new()));
        let stored = newcomer.stored();
        assert!(stored.certificate.is_some());
        assert_eq!(
            *stored.bundle.secret.0, [0; 32],
            "the secret is of no use any more"
        );
        assert_eq!(stored.public(), newcomer.identity.public());
    });
}

#[test]
fn answers_of_others_are_ignored_and_the_right_one_still_counts() {
    run(async {
        let mut newcomer = Newcomer::new();
        let stranger = Owner::new();
        let other_keys = Newcomer::new().identity;
        let wrong_secret = Psk::generate(&mut randomness());
        // Another ROOT; another secret; other keys, sealed to this phone by the owner himself; no answer at all.
        newcomer.send(stranger.answer(&newcomer.identity, &newcomer.secret));
        newcomer.send(newcomer.owner.answer(&newcomer.identity, &wrong_secret));
        let mut swapped = newcomer.identity.clone();
        swapped.agent = other_keys.agent.clone();
        newcomer.send(newcomer.owner.answer(&swapped, &newcomer.secret));
        newcomer.send(vec![3; 600]);
        assert!(!newcomer.join().await);
        assert!(newcomer.stored().certificate.is_none());
        newcomer.send(newcomer.owner.answer(&newcomer.identity, &newcomer.secret));
        assert!(newcomer.join().await);
    });
}

#[test]
fn a_claim_is_made_again_on_each_connection() {
    run(async {
        let mut newcomer = Newcomer::new();
        assert!(!newcomer.join().await);
        newcomer.hub.forget_everything();
        newcomer.hub.admit(&ADDRESS.device.to_string());
        assert!(!newcomer.join().await);
        assert_eq!(newcomer.claims().len(), 2);
    });
}

#[test]
fn a_power_cut_between_certificate_and_journal_loses_nothing() {
    run(async {
        let mut newcomer = Newcomer::new();
        newcomer.send(newcomer.owner.answer(&newcomer.identity, &newcomer.secret));
        assert!(newcomer.join().await);
        // The journal was never begun.
        let settings = Settings {
            state_dir: newcomer.folder.path().to_owned(),
            ..Settings::default()
        };
        let (journal, state, authority) = open_state(&settings, &newcomer.stored(), None).unwrap();
        assert_eq!(
            (state.authority.0, state.key_set.0, authority.version),
            (1, 1, 1)
        );
        drop(journal);
        let (_journal, again, _) = open_state(&settings, &newcomer.stored(), None).unwrap();
        assert_eq!(again, state);
    });
}

#[test]
fn an_answer_that_comes_again_to_a_joined_phone_changes_nothing() {
    run(async {
        let mut phone = Phone::new().await;
        let before = phone.brain.state.clone();
        let answer = phone
            .owner
            .answer(&phone.identity, &Psk::generate(&mut randomness()));
        phone.publish(Channel::Command, answer);
        phone.settle().await;
        assert_eq!(phone.brain.state, before);
    });
}

/// A phone with a bundle, whose power is cut at one write.
struct Beginner {
    folder: TempDir,
    owner: Owner,
    secret: Psk,
    crash: CrashPoint,
    cuts: u32,
    /// The keys of each claim that the owner has seen; the first one wins.
    claimed: Vec<homing_protocol::certificate::DeviceKeys>,
}

impl Beginner {
    fn cut_at(point: u64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            owner: Owner::new(),
            secret: Psk::generate(&mut randomness()),
            crash: CrashPoint::told_at(point),
            cuts: 0,
            claimed: Vec::new(),
        }
    }

    /// One life of the programs, from their start to the cut or to the membership; `None` while it is not reached.
    async fn live(&mut self) -> Result<Option<Identity>, crate::error::Error> {
        membership::settle(self.folder.path(), &mut self.crash)?;
        let Some(mut identity) = Identity::load(self.folder.path())? else {
            let given = Psk(self.secret.0.clone());
            let (identity, actor) = Identity::fresh(self.owner.bundle(given), 1);
            membership::join(self.folder.path(), &identity, &actor, &mut self.crash)?;
            return Ok(None);
        };
        if identity.certificate.is_some() {
            return Ok(Some(identity));
        }
        let hub = Hub::new();
        let filters = device_filters(ADDRESS.device);
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let mut transport = hub.connect(&ADDRESS.device.to_string(), &filters);
        // The owner has seen the claim, of this life or of one before, and answers the first.
        self.claimed.push(identity.public());
        assert_eq!(self.claimed[0], identity.public(), "a second claim");
        let topic = Topic::Device(ADDRESS.device, Channel::Command).to_string();
        hub.inject(&Publication {
            topic,
            payload: self.owner.answer(&identity, &self.secret),
            retention: Retention::Live,
        });
        let (folder, crash) = (self.folder.path(), &mut self.crash);
        let joining = join(&mut transport, &mut identity, folder, "model", crash);
        let facts = tokio::time::timeout(std::time::Duration::from_secs(20), joining);
        assert!(!facts.await.expect("an answer in time")?.is_empty());
        Ok(None)
    }

    /// Starts again and again until it has joined.
    async fn join_at_last(&mut self) -> Identity {
        for _ in 0..10 {
            match self.live().await {
                Ok(Some(identity)) => return identity,
                Ok(None) => {}
                Err(_) if self.crash.has_struck() => {
                    self.crash = CrashPoint::default();
                    self.cuts += 1;
                }
                Err(error) => panic!("after {} cuts: {error}", self.cuts),
            }
        }
        panic!("it never joins");
    }
}

#[test]
fn cut_at_every_write_between_consent_and_membership_a_phone_joins_once_and_under_one_set_of_keys()
{
    run(async {
        for point in 1..100 {
            let mut beginner = Beginner::cut_at(point);
            let identity = beginner.join_at_last().await;
            assert_eq!(identity.public(), beginner.claimed[0], "cut at {point}");
            assert_eq!(*identity.bundle.secret.0, [0; 32], "cut at {point}");
            let folder = beginner.folder.path();
            let actor = std::fs::read(folder.join("actor").join("act_sig")).unwrap();
            let actor = SigningKey::from_bytes(&actor.try_into().unwrap());
            assert_eq!(actor.public(), identity.actor, "cut at {point}");
            let settings = Settings {
                state_dir: folder.to_owned(),
                ..Settings::default()
            };
            let (_, state, authority) = open_state(&settings, &identity, None).unwrap();
            assert_eq!(
                (state.key_set.0, authority.version),
                (1, 1),
                "cut at {point}"
            );
            if beginner.cuts == 0 {
                assert!(point > 10, "only {point} points");
                return;
            }
        }
        panic!("there are ever more points");
    });
}
