//! The privileged half at work, with a lockdown that a test can make fail and a disk that it can look at. What it does over its socket is tested end to end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use homing_hal::capability::lockdown::{Lockdown, Standing};
use homing_hal::{Fault, Probe, Roots};
use homing_protocol::Refusal;
use homing_protocol::actor::{Answer, CodeAnswer, Request};
use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::command::{BeaconReference, Command, Op};
use homing_protocol::envelope;
use homing_protocol::id::{BeaconNonce, BootId, CommandId, SessionId};
use homing_protocol::keys::{Psk, SigningKey};
use homing_protocol::lost::{CodeVerifier, Outcome, UnlockCode};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::bootcopy::BootCopy;
use super::identity::{self, ActorIdentity, TakenOver};
use super::notice;
use super::service::Service;
use crate::keystore::{Identity, randomness};
use crate::wiring::house::{ADDRESS, Owner};

const BOOT: BootId = BootId([7; 16]);

/// A lockdown that remembers what it was told, and fails as long as it is told to.
#[derive(Debug)]
struct Doors {
    standing: Standing,
    broken: bool,
    entered: usize,
    left: usize,
}

/// The same doors, for the privileged half and for the test.
struct Lent(Arc<Mutex<Doors>>);

impl Lockdown for Lent {
    fn name(&self) -> &'static str {
        "test"
    }
    fn probe(&self) -> Probe {
        Probe::Unsupported {
            reason: "a test".into(),
        }
    }
    fn enter(&mut self) -> Result<(), Fault> {
        let mut doors = self.0.lock().unwrap();
        doors.entered += 1;
        if doors.broken {
            return Err(Fault::Broken("the session does not end".into()));
        }
        if doors.standing == Standing::Open {
            doors.standing = Standing::Locked;
        }
        Ok(())
    }
    fn leave(&mut self) -> Result<(), Fault> {
        let mut doors = self.0.lock().unwrap();
        if doors.broken {
            return Err(Fault::Broken("the session does not begin".into()));
        }
        doors.left += 1;
        doors.standing = Standing::Open;
        Ok(())
    }
    fn standing(&mut self) -> Result<Standing, Fault> {
        Ok(self.0.lock().unwrap().standing.clone())
    }
}

fn words(message: &str, code: Option<CodeVerifier>) -> Op {
    Op::Lost {
        message: message.into(),
        contact: Some("+49 30 1".into()),
        code,
    }
}

/// Where the house keeps what is shown before its disk's passphrase.
fn boot_copy(folder: &Path) -> BootCopy {
    let mut settings = crate::config::Settings::default();
    settings.lost.boot_folder = crate::config::BootFolder::At(folder.join("boot"));
    BootCopy::new(&settings, &Roots::default())
}

/// A phone that has joined, as its privileged half knows it.
struct House {
    owner: Owner,
    joined: Identity,
    folder: TempDir,
    doors: Arc<Mutex<Doors>>,
    service: Service,
    seq: u64,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::new();
        let bundle = owner.bundle(Psk(Zeroizing::new([1; 32])));
        let joined = Identity::create(folder.path(), bundle, 0).unwrap();
        joined.store(folder.path()).unwrap();
        let actor_dir = folder.path().join("privileged");
        assert_eq!(
            identity::take_over(folder.path(), &actor_dir).unwrap(),
            TakenOver::Yes
        );
        let doors = Arc::new(Mutex::new(Doors {
            standing: Standing::Open,
            broken: false,
            entered: 0,
            left: 0,
        }));
        let lockdown = Box::new(Lent(Arc::clone(&doors)));
        Self {
            service: Service::open(actor_dir, lockdown, BOOT, boot_copy(folder.path())).unwrap(),
            owner,
            joined,
            folder,
            doors,
            seq: 0,
        }
    }
    fn actor_dir(&self) -> PathBuf {
        self.folder.path().join("privileged")
    }
    /// The process ends and starts again; the disk is all that is left.
    fn restart(&mut self) {
        let lockdown = Box::new(Lent(Arc::clone(&self.doors)));
        self.service = self.open_with(lockdown);
        self.service.settle().unwrap();
    }
    fn open_with(&self, lockdown: Box<dyn Lockdown>) -> Service {
        Service::open(
            self.actor_dir(),
            lockdown,
            BOOT,
            boot_copy(self.folder.path()),
        )
        .unwrap()
    }
    fn challenge(&mut self) -> BeaconNonce {
        match self.service.answer(&Request::Challenge) {
            Answer::Challenge(nonce) => nonce,
            other => panic!("{other:?}"),
        }
    }
    fn signed_by(
        &mut self,
        key: &SigningKey,
        session: SessionId,
        (id, op): (u8, Op),
        nonce: BeaconNonce,
    ) -> Vec<u8> {
        self.seq += 1;
        let command = Command {
            address: ADDRESS,
            epoch: 1,
            client: key.public().client_id(),
            session,
            seq: self.seq,
            id: CommandId([id; 16]),
            op,
            issued_at: self.seq,
            not_after: None,
            beacon: Some(BeaconReference { counter: 1, nonce }),
            authority_version: 1,
            binding: None,
            presence: None,
        };
        let kem = &self.joined.kem;
        let sealed = command.seal(key, &kem.public(), &mut randomness()).unwrap();
        let (_, message) = envelope::open(&sealed, &ADDRESS, kem, None).unwrap();
        message.to_vec()
    }
    /// As `homing` does: what only the full key may order under it and in a session of its own, the rest by this machine's client.
    fn signed(&mut self, id: u8, op: Op, nonce: BeaconNonce) -> Vec<u8> {
        let (key, session) = match op.capability() {
            Some(Capability::Unlock) => (self.full(), SessionId::random(&mut randomness())),
            _ => (self.owner.client.clone(), SessionId([1; 8])),
        };
        self.signed_by(&key, session, (id, op), nonce)
    }
    fn full(&self) -> SigningKey {
        homing_protocol::lost::full_client(&self.owner.root)
    }
    fn authority(&self) -> Vec<u8> {
        let (client, full) = (&self.owner.client, self.full());
        let clients = [(client, Capabilities::own()), (&full, Capabilities::full())];
        self.owner.list(1, &clients)
    }
    fn order(&mut self, command: &[u8]) -> Answer {
        let authority = self.authority();
        self.service.answer(&Request::Order {
            authority,
            command: command.to_vec(),
        })
    }
    fn lost(&mut self, id: u8) -> Vec<u8> {
        let code = CodeVerifier::of(&self.code(id), &mut randomness());
        let op = words("Please call", Some(code));
        self.signed(id, op, BeaconNonce([0; 16]))
    }
    fn code(&self, id: u8) -> UnlockCode {
        UnlockCode::of(&self.owner.root, CommandId([id; 16]))
    }
    fn off(&mut self, id: u8, nonce: BeaconNonce) -> Vec<u8> {
        self.ending(id, &[], nonce)
    }
    fn ending(&mut self, id: u8, episodes: &[u8], nonce: BeaconNonce) -> Vec<u8> {
        let episodes = episodes.iter().map(|id| CommandId([*id; 16])).collect();
        self.signed(id, Op::LostOff { episodes }, nonce)
    }
    fn typed(&mut self, digits: &str) -> CodeAnswer {
        let digits = Zeroizing::new(digits.to_owned());
        match self.service.answer(&Request::Code { digits }) {
            Answer::Code(answer) => answer,
            other => panic!("{other:?}"),
        }
    }
    fn is_shown(&self) -> bool {
        notice::stands(&self.actor_dir())
    }
    #[track_caller]
    fn attested(&self, answer: &Answer, id: u8) -> Outcome {
        let Answer::Outcome { attestation, .. } = answer else {
            panic!("{answer:?}");
        };
        let whose = (&ADDRESS, 1);
        let verified = attestation.verify(&self.joined.actor, whose, CommandId([id; 16]));
        assert_eq!(verified, Ok(()));
        attestation.outcome
    }
}

#[test]
fn a_lost_phone_is_locked_until_a_signed_order_that_answers_a_challenge_ends_it() {
    let mut house = House::new();
    let lost = house.lost(1);
    let answer = house.order(&lost);
    assert_eq!(house.attested(&answer, 1), Outcome::Locked);
    assert!(house.is_shown());
    // The agent, another user, is woken by that folder.
    let shown = fs::metadata(notice::folder(&house.actor_dir())).unwrap();
    assert_eq!(shown.permissions().mode() & 0o777, 0o755);
    // Handed over again: the very same word. Neither that nor a question puts off the next look at the doors.
    let due = house.service.due();
    assert_eq!(house.order(&lost), answer);
    let _ = house.challenge();
    let _ = house.typed("00000000");
    assert!(due.is_some());
    assert_eq!(house.service.due(), due);
    assert_eq!(house.doors.lock().unwrap().entered, 1);
    house.restart();
    assert!(house.is_shown());
    assert_eq!(house.order(&lost), answer, "also after a restart");
    let stale = house.off(2, BeaconNonce([9; 16]));
    assert_eq!(house.order(&stale), Answer::Refused(Refusal::UnknownBeacon));
    assert!(house.is_shown());
    let nonce = house.challenge();
    let off = house.off(3, nonce);
    let answer = house.order(&off);
    assert_eq!(house.attested(&answer, 3), Outcome::EndedByOrder);
    assert!(!house.is_shown());
    assert_eq!(house.doors.lock().unwrap().standing, Standing::Open);
    let ended = house.order(&lost);
    assert_eq!(house.attested(&ended, 1), Outcome::EndedByOrder);
    house.restart();
    let again = house.order(&lost);
    assert_eq!(again, ended);
    assert!(!house.is_shown(), "an ended episode never comes back");
}

#[test]
fn what_no_client_of_the_list_has_signed_for_this_phone_does_nothing() {
    let mut house = House::new();
    let lost = house.lost(1);
    for bit in (0..lost.len() * 8).step_by(3) {
        let mut forged = lost.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(house.order(&forged), Answer::Refused(_)),
            "bit {bit}"
        );
    }
    for end in [0, 1, lost.len() / 2, lost.len() - 1] {
        assert!(matches!(house.order(&lost[..end]), Answer::Refused(_)));
    }
    let guest = house.owner.guest.clone();
    let off = Op::LostOff {
        episodes: Vec::new(),
    };
    let nowhere = BeaconNonce([0; 16]);
    let session = SessionId([1; 8]);
    let stranger = house.signed_by(&guest, session, (5, off), nowhere);
    assert_eq!(
        house.order(&stranger),
        Answer::Refused(Refusal::UnknownClient)
    );
    // Who may lock a phone must not choose what opens it.
    let code = CodeVerifier::of(&house.code(7), &mut randomness());
    let client = house.owner.client.clone();
    let with_code = words("Please call", Some(code));
    let own_code = house.signed_by(&client, session, (7, with_code), nowhere);
    assert_eq!(house.order(&own_code), Answer::Refused(Refusal::NotAllowed));
    let ring = house.signed(6, Op::Ring { for_s: 1 }, BeaconNonce([0; 16]));
    assert_eq!(house.order(&ring), Answer::Refused(Refusal::Unsupported));
    assert!(!house.is_shown());
    assert_eq!(house.doors.lock().unwrap().entered, 0);
}

#[test]
fn a_list_that_takes_a_right_away_is_not_undone_by_an_older_one() {
    let mut house = House::new();
    let full = house.full();
    let authority = house.owner.list(2, &[(&full, Capabilities::find())]);
    let nonce = house.challenge();
    let lost = house.signed_by(
        &full,
        SessionId([3; 8]),
        (1, words("Please call", None)),
        nonce,
    );
    let newer = Request::Order {
        authority,
        command: lost.clone(),
    };
    let answer = house.service.answer(&newer);
    assert_eq!(house.attested(&answer, 1), Outcome::Locked);
    // The older list still allows it; a list of somebody else's is none at all.
    let off = house.off(2, nonce);
    assert_eq!(house.order(&off), Answer::Refused(Refusal::NotAllowed));
    house.restart();
    assert_eq!(house.order(&off), Answer::Refused(Refusal::NotAllowed));
    let foreign = Owner::new().list(9, &[(&house.owner.client, Capabilities::full())]);
    let answer = house.service.answer(&Request::Order {
        authority: foreign,
        command: off,
    });
    assert_eq!(answer, Answer::Refused(Refusal::NotAllowed));
    assert!(house.is_shown());
}

#[test]
fn the_code_opens_the_phone_without_anybody_and_a_wrong_one_costs_time() {
    let mut house = House::new();
    assert_eq!(house.typed("12345678"), CodeAnswer::NoEpisode);
    let lost = house.lost(1);
    let _ = house.order(&lost);
    let right = house.code(1);
    let wrong = house.code(2);
    assert_eq!(house.typed("123"), CodeAnswer::Wrong { wait_s: 0 });
    for free in (0..5).rev() {
        let wait_s = if free == 0 { 60 } else { 0 };
        assert_eq!(house.typed(wrong.digits()), CodeAnswer::Wrong { wait_s });
    }
    house.restart();
    let early = house.typed(right.digits());
    assert!(
        matches!(early, CodeAnswer::Wait { wait_s: 55..=60 }),
        "{early:?}"
    );
    // Time passes for the code alone: a second episode has tries of its own.
    let again = house.lost(3);
    let _ = house.order(&again);
    let right = house.code(3);
    let spaced = format!("{} {}", &right.digits()[..4], &right.digits()[4..]);
    assert_eq!(house.typed(&spaced), CodeAnswer::Right);
    assert!(!house.is_shown());
    let answer = house.order(&again);
    assert_eq!(house.attested(&answer, 3), Outcome::EndedByCode);
}

#[test]
fn what_cannot_be_done_now_is_not_claimed_and_is_tried_again() {
    let mut house = House::new();
    house.doors.lock().unwrap().broken = true;
    let lost = house.lost(1);
    let answer = house.order(&lost);
    assert!(matches!(&answer, Answer::Failed(why) if why.contains("does not end")));
    assert!(
        house.is_shown(),
        "the order stands, and the next start locks"
    );
    house.doors.lock().unwrap().broken = false;
    house.restart();
    let answer = house.order(&lost);
    assert_eq!(house.attested(&answer, 1), Outcome::Locked);
    house.doors.lock().unwrap().standing = Standing::Partly("ssh answers".into());
    house.service.settle().unwrap();
    let answer = house.order(&lost);
    assert_eq!(house.attested(&answer, 1), Outcome::LockedInPart);
    assert!(matches!(&answer, Answer::Outcome { text: Some(what), .. } if what == "ssh answers"));
    house.doors.lock().unwrap().broken = true;
    let nonce = house.challenge();
    let off = house.off(2, nonce);
    assert!(matches!(house.order(&off), Answer::Failed(_)));
    assert!(!house.is_shown());
    house.doors.lock().unwrap().broken = false;
    house.restart();
    assert_eq!(
        house.doors.lock().unwrap().left,
        1,
        "made up for at the start"
    );
    let answer = house.order(&off);
    assert_eq!(house.attested(&answer, 2), Outcome::EndedByOrder);
}

#[test]
fn what_a_client_locked_stays_locked_and_is_said_so_after_its_rights_were_taken_away() {
    let mut house = House::new();
    let lost = house.lost(1);
    let answer = house.order(&lost);
    let nobody = house.owner.list(2, &[]);
    let again = house.service.answer(&Request::Order {
        authority: nobody,
        command: lost.clone(),
    });
    assert_eq!(again, answer);
    assert_eq!(house.attested(&again, 1), Outcome::Locked);
    let later = house.lost(2);
    assert_eq!(house.order(&later), Answer::Refused(Refusal::UnknownClient));
    assert!(house.is_shown());
}

#[test]
fn a_door_that_cannot_be_closed_is_tried_ever_more_rarely() {
    let mut house = House::new();
    house.doors.lock().unwrap().standing = Standing::Partly("ssh answers".into());
    let lost = house.lost(1);
    let _ = house.order(&lost);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let now = crate::boottime::now().unwrap();
        waits.push(
            house
                .service
                .due()
                .unwrap()
                .saturating_sub(now)
                .as_secs_f64(),
        );
        house.service.settle().unwrap();
    }
    assert!(waits[0] <= 5.0 && waits[8] > 290.0, "{waits:?}");
    house.doors.lock().unwrap().standing = Standing::Locked;
    house.service.settle().unwrap();
    let answer = house.order(&lost);
    assert_eq!(house.attested(&answer, 1), Outcome::Locked);
}

#[test]
fn a_broken_memory_does_not_open_a_lost_phone_and_its_owner_still_can() {
    let mut house = House::new();
    let lost = house.lost(1);
    let _ = house.order(&lost);
    let file = house.actor_dir().join("state.cbor");
    fs::write(&file, b"dust").unwrap();
    house.restart();
    assert!(house.is_shown());
    assert!(file.with_extension("damaged").exists());
    assert_eq!(house.typed("12345678"), CodeAnswer::NoEpisode);
    let nonce = house.challenge();
    let off = house.off(2, nonce);
    let answer = house.order(&off);
    assert_eq!(house.attested(&answer, 2), Outcome::EndedByOrder);
    assert!(!house.is_shown());
}

#[test]
fn a_damaged_identity_is_taken_from_its_copy_and_without_one_the_code_still_opens_the_phone() {
    let mut house = House::new();
    let lost = house.lost(1);
    let answer = house.order(&lost);
    let file = house.actor_dir().join("identity.cbor");
    fs::write(&file, b"dust").unwrap();
    house.restart();
    assert_eq!(house.order(&lost), answer);
    fs::write(house.actor_dir().join("identity.copy.cbor"), b"").unwrap();
    house.restart();
    assert!(house.is_shown());
    let why = house.order(&lost);
    assert!(
        matches!(&why, Answer::Failed(why) if why.contains("identity.cbor")),
        "{why:?}"
    );
    let right = house.code(1);
    assert_eq!(house.typed(right.digits()), CodeAnswer::Right);
    assert!(!house.is_shown());
}

#[test]
fn a_phone_of_nobody_says_so_and_one_that_is_lost_changes_no_hands() {
    let folder = tempfile::tempdir().unwrap();
    let actor_dir = folder.path().join("privileged");
    let nothing = identity::take_over(folder.path(), &actor_dir).unwrap();
    assert_eq!(nothing, TakenOver::Nothing);
    let mut house = House::new();
    let standing = house.service.answer(&Request::Standing);
    let actor = Some(house.joined.actor);
    assert_eq!(standing, Answer::Standing { open: None, actor });
    let lost = house.lost(1);
    let _ = house.order(&lost);
    let open = Some(CommandId([1; 16]));
    let standing = house.service.answer(&Request::Standing);
    assert_eq!(standing, Answer::Standing { open, actor });
    assert!(identity::forget(&house.actor_dir()).is_err());
    // Another enrolment's keys are not taken over meanwhile.
    let bundle = house.owner.bundle(Psk(Zeroizing::new([2; 32])));
    let (other, key) = Identity::fresh(bundle, 0);
    assert!(identity::serve(&house.actor_dir(), &other, &key).is_err());
    serves(&house.actor_dir(), &house.joined);
    let nonce = house.challenge();
    let off = house.off(2, nonce);
    let _ = house.order(&off);
    identity::serve(&house.actor_dir(), &other, &key).unwrap();
    serves(&house.actor_dir(), &other);
    // The process that runs learns of it: what the old enrolment signed it takes for nobody's.
    house.joined = other;
    let again = house.lost(3);
    let answer = house.order(&again);
    assert_eq!(house.attested(&answer, 3), Outcome::Locked);
    let nonce = house.challenge();
    let off = house.off(4, nonce);
    let _ = house.order(&off);
    // What the old enrolment signed is not even known by its key.
    identity::forget(&house.actor_dir()).unwrap();
    assert!(ActorIdentity::load(&house.actor_dir()).unwrap().is_none());
}

#[track_caller]
fn serves(actor_dir: &Path, joined: &Identity) {
    let served = ActorIdentity::load(actor_dir).unwrap().unwrap();
    assert_eq!(served.key.public(), joined.actor);
}

mod copy;
mod played;
