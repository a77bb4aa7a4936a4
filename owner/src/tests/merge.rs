//! Two machines change one account apart: every pair of changes ends in one list on both, with every revocation and every addition that nobody revoked.
use super::clients::{candidate, peopled};
use super::rng;
use crate::account::{ClientKeys, Unlocked};
use crate::clients::{Candidate, Floors};
use crate::merge::{Meeting, Merged, Outcome, State, meet};
use homing_protocol::authority::{AuthorityList, Capabilities, Capability};
use homing_protocol::id::{ClientId, DeviceId};
use homing_protocol::readers::KeySet;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// What a machine may do to the account while it works apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The laptop adds a machine of the owner's.
    AddDesk,
    /// The tablet adds a delegate.
    AddFriend,
    PutOutTablet,
    PutOutPartner,
    PutOutLaptop,
    /// The partner gets one more right.
    GrantPartner,
    /// The partner gets one more phone.
    GivePhone,
}

const CHANGES: [Change; 7] = [
    Change::AddDesk,
    Change::AddFriend,
    Change::PutOutTablet,
    Change::PutOutPartner,
    Change::PutOutLaptop,
    Change::GrantPartner,
    Change::GivePhone,
];

/// One machine's state, with the serial numbers that it put on the revocation list.
#[derive(Clone)]
struct Side {
    account: Unlocked,
    revoked: Vec<Vec<u8>>,
}

struct Story {
    base: Side,
    laptop: ClientKeys,
    tablet: ClientKeys,
    partner: ClientKeys,
    desk: ClientKeys,
    friend: ClientKeys,
    second_phone: DeviceId,
}

fn few() -> Capabilities {
    Capabilities::of(&[Capability::Locate, Capability::Ring])
}

impl Story {
    /// A laptop, a tablet, a partner who was given the first of two phones.
    fn new() -> Self {
        let house = peopled();
        let [tablet, partner, desk, friend] =
            std::array::from_fn(|_| ClientKeys::generate(&mut rng()));
        let mut account = house.account;
        let first = account.find.devices[0].clone();
        let second_phone = DeviceId([8; 16]);
        let mut base = Side {
            account: account.clone(),
            revoked: Vec::new(),
        };
        account.find.devices[0] = first;
        let mut story = Self {
            laptop: house.client,
            tablet,
            partner,
            desk,
            friend,
            second_phone,
            base: base.clone(),
        };
        base.add(&candidate(&story.tablet, Capabilities::own()));
        let phones = vec![house.invitation.address.device];
        base.add(&Candidate {
            phones: Some(phones),
            ..candidate(&story.partner, few())
        });
        story.base = base;
        story
    }

    fn after(&self, changes: &[Change]) -> Side {
        let mut side = self.base.clone();
        for change in changes {
            let by = |keys: &ClientKeys| keys.id();
            match change {
                Change::AddDesk => side.add(&Candidate {
                    added_by: by(&self.laptop),
                    ..candidate(&self.desk, Capabilities::own())
                }),
                Change::AddFriend => side.add(&Candidate {
                    added_by: by(&self.tablet),
                    phones: Some(Vec::new()),
                    ..candidate(&self.friend, few())
                }),
                Change::PutOutTablet => side.put_out(self.tablet.id()),
                Change::PutOutPartner => side.put_out(self.partner.id()),
                Change::PutOutLaptop => side.put_out(self.laptop.id()),
                Change::GrantPartner => {
                    let grant = side
                        .account
                        .grant(self.partner.id(), Capability::ReadLocation);
                    grant.expect("granted");
                    side.account.generation += 1;
                }
                Change::GivePhone => {
                    // Nothing to give to one who is out.
                    let _ = side
                        .account
                        .give_phone(self.partner.id(), self.second_phone);
                    side.account.generation += 1;
                }
            }
        }
        side
    }

    fn clients(&self) -> [ClientId; 5] {
        let all = [
            &self.laptop,
            &self.tablet,
            &self.partner,
            &self.desk,
            &self.friend,
        ];
        all.map(ClientKeys::id)
    }

    fn adder(&self, client: ClientId) -> Option<ClientId> {
        if client == self.desk.id() {
            Some(self.laptop.id())
        } else {
            (client == self.friend.id()).then(|| self.tablet.id())
        }
    }

    /// Who is to be there, told without any list.
    fn expected(&self, one: &Side, other: &Side) -> BTreeSet<[u8; 16]> {
        let there = |client: &ClientId| {
            let (in_one, in_other) = (one.has(*client), other.has(*client));
            let out = one.is_out(*client) || other.is_out(*client);
            let adder = self.adder(*client);
            let by_outcast = |has: bool, lacks: &Side| {
                has && !lacks.has(*client) && adder.is_some_and(|by| lacks.is_out(by))
            };
            (in_one || in_other) && !out && !by_outcast(in_one, other) && !by_outcast(in_other, one)
        };
        let clients = self.clients();
        clients
            .iter()
            .filter(|one| there(one))
            .map(|one| one.0)
            .collect()
    }
}

impl Side {
    fn state(&self) -> State<'_> {
        State {
            account: &self.account,
            revoked: &self.revoked,
        }
    }

    fn add(&mut self, candidate: &Candidate) {
        let added = self
            .account
            .change_clients(&[], Some(candidate), &Floors::default());
        // Who was put out before is refused, as it is for people.
        if added.is_ok() {
            self.account.generation += 1;
        }
    }

    fn put_out(&mut self, client: ClientId) {
        let serials = self
            .account
            .change_clients(&[client], None, &Floors::default());
        self.revoked.extend(serials.expect("put out"));
        self.account.generation += 1;
    }

    fn list(&self) -> AuthorityList {
        self.account.authority().expect("signed by ROOT")
    }

    fn has(&self, client: ClientId) -> bool {
        self.list().entry(client).is_some()
    }

    fn is_out(&self, client: ClientId) -> bool {
        self.account.full.put_out.contains(&client)
    }

    fn key_set(&self) -> KeySet {
        let device = &self.account.find.devices[0];
        self.account.key_set_of(device).expect("signed by ROOT")
    }
}

/// The side that both end with.
fn ends_with(meeting: Meeting, ours: &Side, theirs: &Side) -> Side {
    match meeting {
        Meeting::Same | Meeting::Older => ours.clone(),
        Meeting::Newer => theirs.clone(),
        Meeting::Forked(merged) => written(*merged),
    }
}

/// The merged state as the next keyring holds it.
fn written(merged: Merged) -> Side {
    let mut side = Side {
        account: merged.account,
        revoked: merged.revoked,
    };
    side.account.generation += 1;
    side
}

fn met(ours: &Side, theirs: &Side) -> Meeting {
    meet(ours.state(), theirs.state()).expect("both are ours")
}

fn forked(ours: &Side, theirs: &Side) -> Merged {
    match met(ours, theirs) {
        Meeting::Forked(merged) => *merged,
        other => panic!("{other:?}"),
    }
}

/// What a phone follows after these lists came: any higher number, never another of the same.
fn followed(lists: &[&Side]) -> Vec<u8> {
    let mut held: Option<&Side> = None;
    for list in lists {
        let newer = held
            .is_none_or(|held| list.list().version.cmp(&held.list().version) == Ordering::Greater);
        if newer {
            held = Some(list);
        }
    }
    held.expect("one").account.find.authority.clone()
}

fn check(story: &Story, left: &[Change], right: &[Change]) {
    let (one, other) = (story.after(left), story.after(right));
    let what = format!("{left:?} against {right:?}");
    let here = ends_with(met(&one, &other), &one, &other);
    let there = ends_with(met(&other, &one), &other, &one);
    assert_eq!(
        here.account.find.authority, there.account.find.authority,
        "{what}: both machines sign the same"
    );
    assert_eq!(
        here.account.find.devices, there.account.find.devices,
        "{what}"
    );
    assert_eq!(
        here.account.full.put_out, there.account.full.put_out,
        "{what}"
    );
    let list = here.list();
    let clients = story.clients();
    let present: BTreeSet<_> = clients
        .iter()
        .filter(|client| list.entry(**client).is_some())
        .map(|client| client.0)
        .collect();
    assert_eq!(present, story.expected(&one, &other), "{what}");
    // Who reads is who stands in the list.
    for reader in here.key_set().readers {
        let finder = here.account.find_reader().client;
        assert!(
            reader.client == finder || list.entry(reader.client).is_some(),
            "{what}"
        );
    }
    for side in [&one, &other] {
        let same = side.account.find.authority == here.account.find.authority;
        assert!(
            same || list.version > side.list().version,
            "{what}: numbered above"
        );
        let (old, new) = (side.key_set(), here.key_set());
        assert!(old == new || new.version > old.version, "{what}: key set");
        let again = met(&here, side);
        assert!(
            matches!(again, Meeting::Same | Meeting::Older),
            "{what}: {again:?}"
        );
    }
    for order in [
        [&one, &other, &here],
        [&other, &one, &here],
        [&here, &one, &other],
    ] {
        assert_eq!(
            followed(&order),
            here.account.find.authority,
            "{what}: a phone"
        );
    }
}

#[test]
fn every_pair_of_changes_made_apart_ends_in_one_list_that_holds_both() {
    let story = Story::new();
    check(&story, &[], &[]);
    for one in CHANGES {
        check(&story, &[one], &[]);
        for other in CHANGES {
            check(&story, &[one], &[other]);
            for third in [Change::PutOutTablet, Change::AddDesk] {
                check(&story, &[one], &[other, third]);
            }
        }
    }
}

#[test]
fn a_later_state_is_taken_as_it_is_and_an_earlier_one_is_passed_over() {
    let story = Story::new();
    for changes in [
        vec![Change::AddDesk],
        vec![Change::PutOutTablet, Change::GivePhone],
    ] {
        let (old, new) = (story.after(&[]), story.after(&changes));
        assert!(matches!(met(&old, &new), Meeting::Newer), "{changes:?}");
        assert!(matches!(met(&new, &old), Meeting::Older), "{changes:?}");
        assert!(matches!(met(&new, &new.clone()), Meeting::Same));
    }
}

#[test]
fn who_was_put_out_wins_nothing_by_changing_the_account_meanwhile() {
    let story = Story::new();
    // The tablet is lost; whoever has it adds a friend and thrice something else, so that its list has the higher number.
    let thief = story.after(&[
        Change::AddFriend,
        Change::PutOutLaptop,
        Change::GrantPartner,
        Change::AddDesk,
    ]);
    let owner = story.after(&[Change::PutOutTablet]);
    let merged = forked(&owner, &thief);
    let list = merged.account.authority().expect("list");
    for out in [&story.tablet, &story.friend] {
        assert!(list.entry(out.id()).is_none());
        assert!(
            merged.revoked.contains(&out.id().0.to_vec()),
            "its certificate"
        );
    }
    assert_eq!(merged.account_of.refused, ["tablet"], "by the name it gave");
    assert!(list.version > thief.list().version);
    // It stays so when the same side comes again.
    assert!(matches!(met(&written(merged), &thief), Meeting::Older));
}

#[test]
fn what_became_of_both_sides_is_told() {
    let story = Story::new();
    let (one, other) = (
        story.after(&[Change::AddDesk]),
        story.after(&[Change::PutOutPartner]),
    );
    let told = forked(&one, &other).account_of;
    let expected = Outcome {
        list: one.list().version + 1,
        kept: vec!["tablet".into()],
        put_out: vec!["tablet".into()],
        refused: Vec::new(),
    };
    assert_eq!(told, expected, "all are called tablet in these tests");
}

#[test]
fn more_than_a_phone_can_name_are_put_out_and_told() {
    let story = Story::new();
    let several = |number: usize| {
        let mut side = story.base.clone();
        for _ in 0..number {
            let client = ClientKeys::generate(&mut rng());
            side.add(&candidate(&client, Capabilities::own()));
        }
        side
    };
    // With the find client, laptop, tablet and partner there is room for four more.
    let (one, other) = (several(3), several(3));
    let (here, there) = (forked(&one, &other), forked(&other, &one));
    assert_eq!(here.account.find.authority, there.account.find.authority);
    assert_eq!(here.account_of.refused.len(), 2);
    assert_eq!(written(here).key_set().readers.len(), 8);
}
