//! Further clients and delegates: who stands in which list, who reads what, and that putting one out ends its reading.
use super::{House, enrolled, house, rng};
use crate::Error;
use crate::account::{ClientKeys, Unlocked};
use crate::clients::{Candidate, Floors, TlsIdentity, own_entry};
use crate::lost::Listed;
use homing_protocol::admission::{ClientAnswer, ClientRequest};
use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::envelope::{Address, MessageType};
use homing_protocol::id::{ClientId, DeviceId};
use homing_protocol::keyring::KnownDevice;
use homing_protocol::readers::{KeySet, Reads, open_as_reader, seal_to_readers};

pub(super) fn candidate(client: &ClientKeys, capabilities: Capabilities) -> Candidate {
    Candidate {
        key: client.signing.public(),
        reading: client.reading.public(),
        name: "tablet".into(),
        capabilities,
        tls_serial: client.id().0.to_vec(),
        phones: None,
        added_by: ClientId([0; 16]),
    }
}

/// An account with one phone and its first client on record.
pub(super) fn peopled() -> House {
    let mut house = house();
    house
        .account
        .record_first_client(&house.client, "laptop", &[7; 16]);
    let (_, accepted) = enrolled(&house);
    house.account.remember(KnownDevice {
        device: house.invitation.address.device,
        name: "pocket".into(),
        certificate: accepted.certificate,
        key_set: accepted.key_set,
        tls_serial: vec![1],
    });
    house
}

fn key_set(account: &Unlocked, address: &Address) -> KeySet {
    KeySet::verify(
        &account.find.devices[0].key_set,
        &account.find.root,
        address,
    )
    .expect("signed by ROOT")
}

#[test]
fn an_added_client_stands_in_the_next_list_and_among_every_phones_readers() {
    let mut house = peopled();
    let account = &mut house.account;
    let client = ClientKeys::generate(&mut rng());
    let dropped = account.change_clients(
        &[],
        Some(&candidate(&client, Capabilities::find())),
        &Floors::default(),
    );
    assert_eq!(dropped, Ok(Vec::new()));
    let list = account.authority().expect("list");
    assert_eq!(list.version, 2);
    let entry = list.entry(client.id()).expect("entry");
    assert!(entry.capabilities.allows(Capability::Ring));
    assert!(!entry.capabilities.allows(Capability::Admin));
    assert!(list.entry(house.client.id()).is_some());
    let set = key_set(account, &house.invitation.address);
    assert_eq!(set.version, 2);
    assert!(set.readers.contains(&client.reader()));
    assert!(set.readers.contains(&house.client.reader()));
    assert!(set.readers.contains(&account.find_reader()));
    // A phone that joins later is sealed to it as well.
    assert_eq!(
        account.readers(DeviceId([9; 16])).expect("readers").len(),
        3
    );
}

#[test]
fn a_lost_machine_leaves_lists_and_readers_and_its_certificate_is_named() {
    let mut house = peopled();
    let account = &mut house.account;
    let client = ClientKeys::generate(&mut rng());
    let machines = account.machines().expect("list");
    assert_eq!(machines, vec![house.client.id()]);
    let candidate = candidate(&client, Capabilities::find());
    let serials = account.change_clients(&machines, Some(&candidate), &Floors::default());
    assert_eq!(serials, Ok(vec![vec![7; 16]]));
    let list = account.authority().expect("list");
    assert!(list.entry(house.client.id()).is_none() && list.entry(client.id()).is_some());
    let set = key_set(account, &house.invitation.address);
    assert!(!set.readers.contains(&house.client.reader()));
    assert!(set.readers.contains(&account.find_reader()));
    let blob = account.wrap_next(&mut rng()).expect("wrapped");
    let again = Unlocked::open(&blob, "open sesame", &house.kit.secret).expect("opened");
    assert_eq!(again.full.clients, account.full.clients);
}

#[test]
fn positions_are_sealed_to_a_delegate_only_when_it_may_read_them() {
    let mut house = peopled();
    for (capabilities, reads) in [
        (&[Capability::Locate, Capability::Ring][..], Reads::Status),
        (
            &[Capability::Locate, Capability::ReadLocation],
            Reads::Positions,
        ),
    ] {
        let client = ClientKeys::generate(&mut rng());
        let candidate = candidate(&client, Capabilities::of(capabilities));
        house
            .account
            .change_clients(&[], Some(&candidate), &Floors::default())
            .expect("added");
        let set = key_set(&house.account, &house.invitation.address);
        let context = house.invitation.address.context(MessageType::Report);
        for (kind, readable) in [
            (Reads::Status, true),
            (Reads::Positions, reads == Reads::Positions),
        ] {
            let sealed = seal_to_readers(&set.keys(kind), &context, b"here", &mut rng());
            let opened = open_as_reader(&sealed.expect("sealed"), &context, &client.reading);
            assert_eq!(opened.is_ok(), readable, "{capabilities:?} {kind:?}");
        }
    }
}

#[test]
fn a_reader_that_was_put_out_opens_nothing_that_is_sealed_afterwards() {
    let mut house = peopled();
    let client = ClientKeys::generate(&mut rng());
    let account = &mut house.account;
    let added = candidate(&client, Capabilities::find());
    account
        .change_clients(&[], Some(&added), &Floors::default())
        .expect("added");
    let context = house.invitation.address.context(MessageType::Report);
    let sealed = |set: &KeySet| {
        seal_to_readers(&set.keys(Reads::Positions), &context, b"here", &mut rng()).expect("sealed")
    };
    let before = key_set(account, &house.invitation.address);
    assert!(open_as_reader(&sealed(&before), &context, &client.reading).is_ok());
    let serials = account.change_clients(&[client.id()], None, &Floors::default());
    assert_eq!(serials, Ok(vec![client.id().0.to_vec()]));
    let after = key_set(account, &house.invitation.address);
    assert_eq!(after.version, before.version + 1);
    assert!(open_as_reader(&sealed(&after), &context, &client.reading).is_err());
    assert!(open_as_reader(&sealed(&after), &context, &house.client.reading).is_ok());
    assert!(
        account
            .authority()
            .expect("list")
            .entry(client.id())
            .is_none()
    );
}

#[test]
fn the_eighth_machine_is_refused_and_nothing_has_changed() {
    let mut house = peopled();
    let added = || candidate(&ClientKeys::generate(&mut rng()), Capabilities::find());
    // The find client reads too, so seven machines do.
    for _ in 0..6 {
        house
            .account
            .change_clients(&[], Some(&added()), &Floors::default())
            .expect("room");
    }
    let (list, devices) = (
        house.account.find.authority.clone(),
        house.account.find.devices.clone(),
    );
    assert_eq!(
        house
            .account
            .change_clients(&[], Some(&added()), &Floors::default()),
        Err(Error::TooManyReaders)
    );
    assert_eq!(
        (list, devices),
        (house.account.find.authority, house.account.find.devices)
    );
}

#[test]
fn an_answer_makes_an_owner_with_the_kit_and_a_delegate_without() {
    let mut house = peopled();
    let blob = house.account.wrap_next(&mut rng()).expect("wrapped");
    let client = ClientKeys::generate(&mut rng());
    let request = ClientRequest {
        key: client.signing.public(),
        reading: client.reading.public(),
        name: "tablet".into(),
    };
    let added = candidate(&client, Capabilities::of(&[Capability::Ring]));
    house
        .account
        .change_clients(&[], Some(&added), &Floors::default())
        .expect("added");
    let tls = TlsIdentity {
        certificate_pem: "CERTIFICATE",
        key_pem: "KEY",
    };
    for share in [None, Some((&house.kit.secret, blob.as_slice()))] {
        let full = share.is_some();
        let bytes = house.account.answer(&request, &tls, share, &mut rng());
        let bytes = bytes.expect("sealed");
        let answer = ClientAnswer::open(&bytes, &request.key, &client.reading).expect("opened");
        assert_eq!(answer.owners.is_some(), full);
        let (list, entry) = own_entry(&answer.authority, &answer.root, answer.account, client.id())
            .expect("its own entry");
        assert_eq!(list.version, 2);
        assert_eq!(entry.capabilities.words(), vec!["ring"]);
        let stranger = ClientKeys::generate(&mut rng()).id();
        assert!(own_entry(&answer.authority, &answer.root, answer.account, stranger).is_err());
    }
}

#[test]
fn the_full_key_is_listed_once_reads_nothing_and_is_nobodys_machine() {
    let mut account = peopled().account;
    let sets = |account: &Unlocked| -> Vec<Vec<u8>> {
        let devices = account.find.devices.iter();
        devices.map(|device| device.key_set.clone()).collect()
    };
    let (before, readers) = (account.authority().expect("a list"), sets(&account));
    assert_eq!(account.list_full_client(), Ok(Listed::Now));
    assert_eq!(account.list_full_client(), Ok(Listed::Already));
    let after = account.authority().expect("a list");
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.entries.len(), before.entries.len() + 1);
    assert_eq!(sets(&account), readers);
    let full = account.full_client().public().client_id();
    let entry = after.entry(full).expect("listed");
    assert!(entry.capabilities.allows(Capability::Unlock));
    // Whoever puts everybody out does not put it out: nobody could ever unlock a phone again.
    assert!(!account.machines().expect("a list").contains(&full));
}
