//! Lost mode between two judges: what the unprivileged half may say, what the privileged half does, and what no schedule of hand-overs, deaths and replays may bring about.

use crate::house::*;
use homing_policy::actor::{ActorState, Challenged, Duty, Moment, Verdict};
use homing_policy::tries::FIRST_WAIT;
use homing_policy::{ActorAnswer, Effect, Event, NonceMaker, codec};
use homing_protocol::Refusal;
use homing_protocol::command::{Op, Verified};
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, BootId, CommandId, DeviceId};
use homing_protocol::keys::SigningKey;
use homing_protocol::lost::{Attestation, CodeVerifier, Outcome};
use homing_protocol::receipt::CommandState::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn lost(seq: u64, id: u8) -> Order {
    let op = Op::Lost {
        message: format!("message {id}"),
        contact: Some("+49 30 1".into()),
        code: Some(CodeVerifier::from_bytes([id; 32])),
    };
    order(seq, id, op)
}

pub(crate) fn lost_off(seq: u64, id: u8, episodes: &[u8]) -> Order {
    let episodes = episodes.iter().map(|id| command_id(*id)).collect();
    order(seq, id, Op::LostOff { episodes })
}

/// Under a key that no judge looks at.
fn attest(id: u8, outcome: Outcome) -> Attestation {
    let address = Address {
        account: AccountId([1; 16]),
        device: DeviceId([2; 16]),
    };
    let key = SigningKey::from_bytes(&[15; 32]);
    Attestation::sign(&key, (&address, 1), command_id(id), outcome, 1)
}

fn answer(phone: &mut Phone, id: u8, outcome: Outcome) -> Vec<Effect> {
    phone.hear(&Event::Actor {
        command: command_id(id),
        answer: ActorAnswer::Outcome {
            attestation: attest(id, outcome),
            text: None,
        },
    })
}

const fn handed(id: u8) -> Effect {
    Effect::HandOver {
        command: command_id(id),
    }
}

#[test]
fn an_episode_runs_when_the_privileged_half_says_so_and_ends_when_it_says_so() {
    let (house, mut phone) = (House::new(), Phone::new());
    assert_eq!(phone.receive(&house.sign(&lost(1, 1))), [handed(1)]);
    assert_eq!(phone.said(1), [Accepted]);
    assert!(!phone.state.is_busy(), "it is somebody else's business");
    // Nobody has answered: it is handed over again, also by an agent that was killed.
    assert_eq!(phone.hear(&Event::ActorStirred), [handed(1)]);
    assert!(phone.restart().contains(&handed(1)));
    let failing = ActorAnswer::Failing("nobody answers");
    let command = command_id(1);
    let event = Event::Actor {
        command,
        answer: failing,
    };
    assert_eq!(phone.hear(&event), []);
    assert_eq!(phone.told(1), Some("nobody answers"));
    assert_eq!(answer(&mut phone, 1, Outcome::Locked), [Effect::BeaconSoon]);
    assert_eq!(phone.said(1), [Accepted, Accepted, Running]);
    assert_eq!(phone.hear(&event), [], "what is locked stays said so");
    assert!(!phone.state.is_busy(), "a phone may be lost for weeks");
    assert_eq!(phone.hear(&Event::Tick), []);
    assert_eq!(answer(&mut phone, 1, Outcome::Locked), [], "once is enough");
    phone.check_facts();
    // Somebody typed the code: the privileged half stirs, and is asked.
    assert_eq!(phone.hear(&Event::ActorStirred), [handed(1)]);
    let _ = answer(&mut phone, 1, Outcome::EndedByCode);
    assert_eq!(phone.said(1), [Accepted, Accepted, Running, Done]);
    assert_eq!(phone.told(1), Some("unlocked with the code"));
    assert_eq!(phone.state.handed(command), None);
    phone.check_facts();
}

#[test]
fn an_end_is_handed_over_and_the_episodes_end_is_asked_for_after_it() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&lost(1, 1)));
    let _ = answer(&mut phone, 1, Outcome::LockedInPart);
    phone.beacon();
    let off = house.sign(&lost_off(2, 2, &[1]).quoting(Some(quoting(2))));
    assert_eq!(phone.receive(&off), [handed(2)]);
    assert_eq!(
        answer(&mut phone, 2, Outcome::EndedByOrder),
        [Effect::BeaconSoon, handed(1)]
    );
    let _ = answer(&mut phone, 1, Outcome::EndedByOrder);
    assert_eq!(phone.said(1), [Accepted, Running, Done]);
    assert_eq!(phone.said(2), [Accepted, Done]);
    // Of one that was ended before it arrived the privileged half says so; nobody who stops rings can.
    let _ = phone.receive(&house.sign(&stop(3, 3, &[9])));
    assert_eq!(phone.receive(&house.sign(&lost(4, 9))), [handed(9)]);
    let (command, answer) = (command_id(9), ActorAnswer::Refused(Refusal::Expired));
    let _ = phone.hear(&Event::Actor { command, answer });
    assert_eq!(phone.said(9), [Accepted, Cancelled]);
    phone.check_facts();
}

#[test]
fn an_end_needs_a_beacon_of_this_start_and_quarter_of_an_hour() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&lost(1, 1)));
    phone.later(15 * 60_000 + 1);
    let stale = house.sign(&lost_off(2, 2, &[1]));
    assert_eq!(phone.receive(&stale), [Effect::BeaconSoon]);
    assert_eq!(phone.refusals, [Refusal::UnknownBeacon]);
    phone.beacon();
    let _ = phone.reboot();
    let of_before = house.sign(&lost_off(3, 2, &[1]).quoting(Some(quoting(2))));
    assert_eq!(phone.receive(&of_before), [Effect::BeaconSoon]);
    // The episode itself is never too old.
    assert_eq!(phone.receive(&house.sign(&lost(4, 4))), [handed(4)]);
    assert_eq!(phone.said(1), [Accepted]);
}

#[test]
fn an_end_waits_for_a_beacon_whose_challenge_the_privileged_half_made() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&lost(1, 1)));
    let (nonce, maker) = (nonce(2), NonceMaker::Agent);
    let _ = phone.hear(&Event::BeaconDue { nonce, maker });
    let off = |seq, beacon| house.sign(&lost_off(seq, 2, &[1]).quoting(Some(quoting(beacon))));
    assert_eq!(phone.receive(&off(2, 2)), [Effect::BeaconSoon]);
    assert_eq!(phone.said(2), [Refused], "to be signed again under this id");
    phone.beacon();
    assert_eq!(phone.receive(&off(3, 3)), [handed(2)]);
    assert_eq!(phone.said(2), [Refused, Accepted]);
}

#[test]
fn a_locked_phone_is_not_said_to_have_failed_because_its_client_lost_its_rights() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&lost(1, 1)));
    let _ = answer(&mut phone, 1, Outcome::Locked);
    let (command, refused) = (command_id(1), ActorAnswer::Refused(Refusal::UnknownClient));
    let _ = phone.hear(&Event::Actor {
        command,
        answer: refused,
    });
    assert_eq!(phone.said(1), [Accepted, Running]);
    assert!(phone.state.open_lost().is_some());
}

#[test]
fn what_the_privileged_half_refuses_has_failed_and_what_it_says_of_others_counts_for_nothing() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&lost(1, 1)));
    for (id, outcome) in [
        (1, Outcome::NothingToEnd),
        (2, Outcome::Locked),
        (9, Outcome::EndedByCode),
    ] {
        assert_eq!(answer(&mut phone, id, outcome), []);
    }
    let answer = ActorAnswer::Refused(Refusal::Replayed);
    let command = command_id(1);
    let _ = phone.hear(&Event::Actor { command, answer });
    assert_eq!(phone.said(1), [Accepted, Failed]);
    let later = ActorAnswer::Outcome {
        attestation: attest(1, Outcome::Locked),
        text: None,
    };
    let event = Event::Actor {
        command,
        answer: later,
    };
    assert_eq!(phone.hear(&event), [], "an ended order stays ended");
}

/// A challenge that was made only just now.
const LIVE: Challenged = Challenged::Live { made_ms: u64::MAX };

const BOOT: BootId = BootId([1; 16]);

/// The privileged half with a disk that can be cut off.
#[derive(Default)]
struct Actor {
    state: ActorState,
    /// Milliseconds since the phone started; each order takes one.
    now_ms: u64,
    /// When each episode began, by the test's own book.
    began: BTreeMap<CommandId, u64>,
    /// Everything that an end has named, or that has ended.
    ended: BTreeSet<CommandId>,
}

impl Actor {
    fn judge(&self, verified: &Verified, challenged: Challenged) -> Result<Verdict, Refusal> {
        let now = Moment {
            boot: BOOT,
            boottime_ms: self.now_ms,
            unix_s: TODAY,
        };
        self.state.judge(verified, challenged, &now)
    }
    fn keep(&mut self, next: ActorState) {
        let bytes = next.encode();
        assert_eq!(ActorState::decode(&bytes).as_ref(), Ok(&next));
        self.state = next;
    }
    /// Judges and keeps, and locks or gives back at once.
    fn order(&mut self, verified: &Verified, challenged: Challenged) -> Result<Verdict, Refusal> {
        self.now_ms += 1;
        let verdict = self.judge(verified, challenged)?;
        if let Verdict::New(next) = &verdict {
            self.keep((**next).clone());
        }
        match self.state.duty() {
            Duty::Lock => self.keep(self.state.locked(Outcome::Locked)),
            Duty::GiveBack => self.keep(self.state.given_back()),
            Duty::None => {}
        }
        Ok(verdict)
    }
    fn outcome(&self, id: u8) -> Option<Outcome> {
        self.state.settled(command_id(id)).map(|it| it.outcome)
    }
}

#[test]
fn the_privileged_half_locks_once_and_answers_the_same_again() {
    let (house, mut actor) = (House::new(), Actor::default());
    let first = house.sign(&lost(1, 1));
    assert!(matches!(
        actor.order(&first, Challenged::No),
        Ok(Verdict::New(_))
    ));
    assert_eq!(actor.state.duty(), Duty::Lock);
    let standing = actor.state.open().unwrap().standing;
    assert_eq!(standing, Some((Outcome::Locked, 1)));
    assert_eq!(actor.order(&first, Challenged::No), Ok(Verdict::Stands));
    assert_eq!(actor.state.open().unwrap().standing, standing);
    // A second episode takes the first one's place; the phone is never open in between.
    let _ = actor.order(&house.sign(&lost(2, 2)), Challenged::No);
    assert_eq!(actor.outcome(1), Some(Outcome::Superseded));
    assert_eq!(actor.state.open().unwrap().message, "message 2");
    // The first, played again, changes nothing.
    let again = actor.order(&first, Challenged::No);
    assert!(matches!(again, Ok(Verdict::Settled(it)) if it.outcome == Outcome::Superseded));
    let off = house.sign(&lost_off(3, 3, &[]));
    assert_eq!(
        actor.order(&off, Challenged::No),
        Err(Refusal::UnknownBeacon)
    );
    assert_eq!(actor.state.duty(), Duty::Lock, "no challenge, no end");
    let _ = actor.order(&off, LIVE);
    assert_eq!(actor.state.duty(), Duty::None);
    assert_eq!(actor.outcome(2), Some(Outcome::EndedByOrder));
    for old in [&first, &house.sign(&lost(2, 2))] {
        let _ = actor.order(old, Challenged::No);
        assert_eq!(actor.state.duty(), Duty::None, "what has ended stays ended");
    }
    let next = house.sign(&lost_off(4, 4, &[]));
    let _ = actor.order(&next, LIVE);
    assert_eq!(actor.outcome(4), Some(Outcome::NothingToEnd));
}

#[test]
fn what_was_held_back_is_older_than_what_came_and_what_was_named_never_begins() {
    let (house, mut actor) = (House::new(), Actor::default());
    let _ = actor.order(&house.sign(&lost(5, 5)), Challenged::No);
    let off = house.sign(&lost_off(6, 6, &[5, 7]));
    let _ = actor.order(&off, LIVE);
    let held_back = house.sign(&lost(4, 4));
    assert_eq!(
        actor.order(&held_back, Challenged::No),
        Err(Refusal::Replayed)
    );
    let named = house.sign(&lost(7, 7));
    assert_eq!(actor.order(&named, Challenged::No), Err(Refusal::Expired));
    let other = house.sign(&ring(8, 8));
    assert_eq!(actor.order(&other, LIVE), Err(Refusal::Unsupported));
    assert_eq!(actor.state.duty(), Duty::None);
}

#[test]
fn an_end_that_was_held_back_does_not_end_what_was_begun_after_it() {
    let (house, mut actor) = (House::new(), Actor::default());
    let _ = actor.order(&house.sign(&lost(1, 1)), Challenged::No);
    let made_ms = actor.now_ms;
    // The owner ends it, hears nothing, and locks the phone again with other words; the broker turns the two around.
    let of_before = house.sign(&lost_off(1, 2, &[1]).by(1, 7));
    let _ = actor.order(&house.sign(&lost(2, 3)), Challenged::No);
    let challenged = Challenged::Live { made_ms };
    let late = actor.order(&of_before, challenged);
    assert_eq!(late, Err(Refusal::UnknownBeacon));
    assert_eq!(actor.state.duty(), Duty::Lock);
    // One that names it, or answers a challenge of after it, does.
    let named = house.sign(&lost_off(1, 4, &[3]).by(1, 8));
    assert!(actor.judge(&named, challenged).is_ok());
    let made_ms = actor.now_ms;
    let newer = actor.judge(&of_before, Challenged::Live { made_ms });
    assert!(newer.is_ok());
    // After a restart every challenge is newer than what was begun before it; so it is where the memory was lost.
    let of_another_start = Moment {
        boot: BootId([9; 16]),
        boottime_ms: 1,
        unix_s: TODAY,
    };
    let first = Challenged::Live { made_ms: 0 };
    assert!(
        actor
            .state
            .judge(&of_before, first, &of_another_start)
            .is_ok()
    );
    let mut forgotten = actor.state.open().unwrap().clone();
    forgotten.began = None;
    actor.state = ActorState::of_episode(forgotten);
    assert!(actor.judge(&of_before, first).is_ok());
}

#[test]
fn a_code_that_is_wrong_costs_time_by_the_actors_own_memory() {
    let (house, mut actor) = (House::new(), Actor::default());
    let (boot, other) = (BootId([1; 16]), BootId([2; 16]));
    assert_eq!(actor.state.wait(boot, 0), None, "no episode");
    let _ = actor.order(&house.sign(&lost(1, 1)), Challenged::No);
    for _ in 0..5 {
        assert_eq!(
            actor.state.wait(boot, 1_000),
            Some(std::time::Duration::ZERO)
        );
        actor.keep(actor.state.tried(boot, 1_000));
    }
    assert_eq!(actor.state.wait(boot, 1_000), Some(FIRST_WAIT));
    assert_eq!(actor.state.wait(other, 0), Some(FIRST_WAIT), "a restart");
    actor.keep(actor.state.ended_by_code());
    assert_eq!(actor.state.duty(), Duty::GiveBack, "until it has succeeded");
    assert_eq!(actor.outcome(1), Some(Outcome::EndedByCode));
    // The next episode begins with a clean slate.
    let _ = actor.order(&house.sign(&lost(2, 2)), Challenged::No);
    assert_eq!(
        actor.state.wait(boot, 1_000),
        Some(std::time::Duration::ZERO)
    );
}

#[test]
fn a_signed_order_is_kept_by_the_journal_while_it_is_open() {
    let (house, mut phone) = (House::new(), Phone::new());
    let signed = house.sign(&lost(1, 1));
    let _ = phone.receive(&signed);
    assert_eq!(phone.state.handed(command_id(1)), Some(signed.signed()));
    for fact in phone.state.facts() {
        assert_eq!(codec::decode(&codec::encode(&fact)), Ok(fact));
    }
}

/// What may happen to the pair.
#[derive(Clone, Debug)]
enum Step {
    /// The broker delivers, or plays again, one of the owner's orders.
    Deliver(usize),
    /// The agent hands over; the answer may be lost.
    HandOver {
        answer_comes: bool,
    },
    /// A taken-over agent hands over what it likes, without a live challenge or with one that is so many orders old.
    Play(usize, Option<u64>),
    Code,
    Beacon,
    RestartAgent,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12usize).prop_map(Step::Deliver),
        6 => any::<bool>().prop_map(|answer_comes| Step::HandOver { answer_comes }),
        3 => (0..12usize, prop::option::of(0..6u64)).prop_map(|(index, age)| Step::Play(index, age)),
        1 => Just(Step::Code),
        2 => Just(Step::Beacon),
        1 => Just(Step::RestartAgent),
    ]
}

fn orders(house: &House) -> Vec<Verified> {
    let live = |order: Order| order.quoting(Some(quoting(1)));
    [
        lost(1, 1),
        live(lost_off(2, 2, &[1])),
        lost(3, 3),
        lost(4, 4),
        live(lost_off(5, 5, &[4, 9])),
        ring(6, 6),
        lost(1, 101).by(1, 7),
        live(lost_off(2, 102, &[])).by(1, 7),
        lost(3, 9).by(1, 7),
        // Signed again under the same id.
        lost(7, 3),
        live(lost_off(8, 2, &[1])),
        live(lost_off(9, 10, &[3, 101])),
    ]
    .iter()
    .map(|order| house.sign(order))
    .collect()
}

/// What an order that the actor took on has ended: what it names, and nothing that began after its challenge was made.
fn note_ends(actor: &mut Actor, before: &ActorState, verified: &Verified, challenged: Challenged) {
    if let Op::LostOff { episodes } = &verified.command().op {
        if let (Some(open), Challenged::Live { made_ms }) = (before.open(), challenged) {
            let is_named = episodes.contains(&open.command);
            let is_older = actor.began[&open.command] <= made_ms;
            assert!(is_named || is_older, "an end of before opens the phone");
        }
        actor.ended.extend(episodes.iter().copied());
        actor.ended.extend(before.open().map(|open| open.command));
    }
}

fn hand(actor: &mut Actor, verified: &Verified, challenged: Challenged) -> Option<Outcome> {
    let before = actor.state.clone();
    let verdict = actor.order(verified, challenged);
    if matches!(verdict, Ok(Verdict::New(_))) {
        note_ends(actor, &before, verified, challenged);
        let (open, now_ms) = (actor.state.open(), actor.now_ms);
        if let Some(open) =
            open.filter(|open| Some(open.command) != before.open().map(|it| it.command))
        {
            actor.began.insert(open.command, now_ms);
        }
    }
    if challenged == Challenged::No && matches!(verified.command().op, Op::LostOff { .. }) {
        assert_eq!(
            actor.state, before,
            "an end without a challenge does nothing"
        );
    }
    let id = verified.command().id;
    let open = actor.state.open();
    if let Some(open) = open {
        assert!(
            !actor.ended.contains(&open.command),
            "an ended episode is open"
        );
    }
    match (verdict, open) {
        (Err(_), _) => None,
        (Ok(_), Some(open)) if open.command == id => open.standing.map(|(outcome, _)| outcome),
        (Ok(_), _) => actor.state.settled(id).map(|it| it.outcome),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_opens_a_lost_phone_without_an_end_or_locks_one_that_was_ended(steps in prop::collection::vec(step(), 1..60)) {
        let house = House::new();
        let orders = orders(&house);
        let (mut phone, mut actor) = (Phone::new(), Actor::default());
        let mut waiting: Vec<CommandId> = Vec::new();
        for step in steps {
            let was_open = actor.state.open().map(|open| open.command);
            let ended_before = actor.ended.len();
            let mut effects = Vec::new();
            match &step {
                Step::Deliver(index) => effects = phone.receive(&orders[*index]),
                Step::HandOver { answer_comes } => {
                    if let Some(command) = waiting.pop()
                        && let Some(verified) = orders.iter().find(|order| phone.state.handed(command) == Some(order.signed()))
                    {
                        let outcome = hand(&mut actor, verified, LIVE);
                        if *answer_comes {
                            let answer = match outcome {
                                Some(outcome) => ActorAnswer::Outcome { attestation: attest(command.0[0], outcome), text: None },
                                None => ActorAnswer::Refused(Refusal::Replayed),
                            };
                            effects = phone.hear(&Event::Actor { command, answer });
                        }
                    }
                }
                Step::Play(index, age) => {
                    let made_ms = age.map(|age| actor.now_ms.saturating_sub(age));
                    let challenged = made_ms.map_or(Challenged::No, |made_ms| Challenged::Live { made_ms });
                    let _ = hand(&mut actor, &orders[*index], challenged);
                }
                Step::Code => {
                    actor.ended.extend(actor.state.open().map(|open| open.command));
                    actor.keep(actor.state.ended_by_code().given_back());
                    effects = phone.hear(&Event::ActorStirred);
                }
                Step::Beacon => phone.beacon(),
                Step::RestartAgent => effects = phone.restart(),
            }
            for effect in effects {
                if let Effect::HandOver { command } = effect {
                    waiting.push(command);
                }
            }
            // A phone that was lost is open again only because something ended its episode.
            let is_open = actor.state.open().map(|open| open.command);
            if let (Some(was), None) = (was_open, is_open) {
                prop_assert!(actor.ended.contains(&was), "{step:?}");
                prop_assert!(actor.ended.len() > ended_before || matches!(step, Step::Code), "{step:?}");
            }
            phone.check_facts();
        }
        // Whatever was left open is answered once everything is handed over and every answer comes.
        for _ in 0..4 {
            for effect in phone.hear(&Event::ActorStirred) {
                let Effect::HandOver { command } = effect else { continue };
                let signed = phone.state.handed(command).map(<[u8]>::to_vec);
                let verified = orders.iter().find(|order| signed.as_deref() == Some(order.signed()));
                let answer = match hand(&mut actor, verified.unwrap(), LIVE) {
                    Some(outcome) => ActorAnswer::Outcome { attestation: attest(command.0[0], outcome), text: None },
                    None => ActorAnswer::Refused(Refusal::Replayed),
                };
                let _ = phone.hear(&Event::Actor { command, answer });
            }
        }
        let open: Vec<_> = phone.state.open().filter(|entry| matches!(entry.accepted.op, Op::Lost { .. } | Op::LostOff { .. })).collect();
        let locked = actor.state.open().map(|open| open.command);
        prop_assert!(open.iter().all(|entry| Some(entry.accepted.id) == locked && entry.state == Running), "{open:?} {locked:?}");
    }
}
