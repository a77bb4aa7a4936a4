//! Who else may order and read: adds and drops clients in the authority list, the key sets and the keyring, all or nothing. Issues no certificates and writes no files.
use crate::Error;
use crate::account::Unlocked;
use homing_protocol::admission::{ClientAnswer, ClientRequest, Notice, OwnersShare};
use homing_protocol::authority::{
    AuthorityList, Capabilities, Capability, ClientKind, Entry, MOST_ENTRIES,
};
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, ClientId, DeviceId};
use homing_protocol::keyring::{KitSecret, KnownClient, KnownDevice, MOST_PUT_OUT};
use homing_protocol::keys::{KemPublic, VerifyingKey};
use homing_protocol::rand_core::CryptoRng;
use homing_protocol::readers::{KeySet, MOST_READERS, Reader, Reads};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What may be given to a delegate. Ending lost mode, erasing, restoring and managing stay with the owner.
pub const DELEGABLE: [Capability; 6] = [
    Capability::Locate,
    Capability::Ring,
    Capability::Message,
    Capability::Lost,
    Capability::Cancel,
    Capability::ReadLocation,
];

/// A client that is about to be added.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Signs its commands.
    pub key: VerifyingKey,
    /// What is sealed to it.
    pub reading: KemPublic,
    /// What people call it, at most 64 bytes.
    pub name: String,
    /// What it may order.
    pub capabilities: Capabilities,
    /// Serial number of its TLS certificate.
    pub tls_serial: Vec<u8>,
    /// The phones that a delegate is given; `None` for one of the owner's own machines, which has them all.
    pub phones: Option<Vec<DeviceId>>,
    /// The client that adds it.
    pub added_by: ClientId,
}

/// Versions that phones were seen to follow and that this machine does not have: whatever is signed now must lie above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Of the authority list.
    pub list: u64,
    /// Of key sets.
    pub key_sets: BTreeMap<DeviceId, u64>,
}

impl Candidate {
    fn entry(&self) -> Entry {
        Entry {
            key: self.key,
            kind: ClientKind::CommandLine,
            capabilities: self.capabilities,
        }
    }

    fn known(&self) -> KnownClient {
        KnownClient {
            client: self.key.client_id(),
            name: self.name.clone(),
            reading: self.reading,
            tls_serial: self.tls_serial.clone(),
            phones: self.phones.clone(),
            added_by: Some(self.added_by),
        }
    }
}

/// What a client with these capabilities reads: everybody who may order anything reads why it was refused, positions only who may.
#[must_use]
pub fn reads(capabilities: Capabilities) -> Reads {
    if capabilities.allows(Capability::ReadLocation) {
        Reads::Positions
    } else {
        Reads::Status
    }
}

impl Unlocked {
    /// Signs the next authority list without the clients `dropped` and with `added`, and the next key set of every enrolled phone whose readers change by it; all above `floors`. Who is dropped is remembered and never comes back. Gives the serial numbers of the dropped clients' certificates; they belong on the revocation list. On an error nothing has changed.
    ///
    /// # Errors
    /// [`Error::PutOut`], [`Error::TooManyClients`], [`Error::TooManyReaders`], [`Error::Stored`], [`Error::Seal`].
    pub fn change_clients(
        &mut self,
        dropped: &[ClientId],
        added: Option<&Candidate>,
        floors: &Floors,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut next = self.clone();
        next.tell_delegates_apart()?;
        let mut list = next.authority()?;
        list.version = list.version.max(floors.list) + 1;
        list.entries
            .retain(|entry| !dropped.contains(&entry.key.client_id()));
        if let Some(added) = added {
            if next.full.put_out.contains(&added.key.client_id()) {
                return Err(Error::PutOut);
            }
            list.entries.retain(|entry| entry.key != added.key);
            if list.entries.len() >= MOST_ENTRIES {
                return Err(Error::TooManyClients);
            }
            list.entries.push(added.entry());
        }
        let (gone, mut clients): (Vec<_>, Vec<_>) = next
            .full
            .clients
            .iter()
            .cloned()
            .partition(|known| dropped.contains(&known.client));
        if let Some(added) = added {
            clients.retain(|known| known.client != added.key.client_id());
            clients.push(added.known());
        }
        let machines = clients.iter().filter(|known| known.phones.is_none());
        // The find client reads too.
        if machines.count() >= MOST_READERS {
            return Err(Error::TooManyReaders);
        }
        next.full.clients = clients;
        next.full.put_out = remembered(next.full.put_out.iter().chain(dropped));
        next.renew_key_sets(&list, floors)?;
        next.find.authority = list.sign(&next.full.root).map_err(Error::Seal)?;
        *self = next;
        Ok(gone.into_iter().map(|known| known.tls_serial).collect())
    }

    /// Gives a client of the list one more capability, by the next list.
    ///
    /// # Errors
    /// [`Error::TooManyReaders`], [`Error::Stored`], [`Error::Seal`].
    pub fn grant(&mut self, client: ClientId, capability: Capability) -> Result<(), Error> {
        let mut next = self.clone();
        let mut list = next.authority()?;
        list.version += 1;
        for entry in &mut list.entries {
            if entry.key.client_id() == client {
                let more = 1 << capability as u32;
                entry.capabilities = Capabilities::from_bits(entry.capabilities.bits() | more);
            }
        }
        // Who may read more is a reader of more.
        next.renew_key_sets(&list, &Floors::default())?;
        next.find.authority = list.sign(&next.full.root).map_err(Error::Seal)?;
        *self = next;
        Ok(())
    }

    /// Gives a delegate one more phone: it becomes a reader there. The list does not change.
    ///
    /// # Errors
    /// [`Error::NotADelegate`], [`Error::TooManyReaders`], [`Error::Stored`], [`Error::Seal`].
    pub fn give_phone(&mut self, client: ClientId, device: DeviceId) -> Result<(), Error> {
        let mut next = self.clone();
        next.tell_delegates_apart()?;
        let known = next.full.clients.iter_mut();
        let phones = known
            .filter(|known| known.client == client)
            .find_map(|known| known.phones.as_mut())
            .ok_or(Error::NotADelegate)?;
        if !phones.contains(&device) {
            phones.push(device);
        }
        let list = next.authority()?;
        next.renew_key_sets(&list, &Floors::default())?;
        *self = next;
        Ok(())
    }

    /// Signs the next key set of each phone whose readers are not those that follow from `list` and the known clients, or that follows a version this account does not have.
    pub(crate) fn renew_key_sets(
        &mut self,
        list: &AuthorityList,
        floors: &Floors,
    ) -> Result<(), Error> {
        let mut devices = self.find.devices.clone();
        for device in devices
            .iter_mut()
            .filter(|device| !device.key_set.is_empty())
        {
            let mut set = self.key_set_of(device)?;
            let floor = floors.key_sets.get(&device.device).copied();
            let readers = self.readers_from(list, device.device, &set.readers);
            if readers.len() > MOST_READERS {
                return Err(Error::TooManyReaders);
            }
            if !same_readers(&readers, &set.readers) || floor > Some(set.version) {
                set.readers = readers;
                set.version = set.version.max(floor.unwrap_or(0)) + 1;
                device.key_set = set.sign(&self.full.root).map_err(Error::Seal)?;
            }
        }
        self.find.devices = devices;
        Ok(())
    }

    /// The key set of a phone that has joined.
    pub(crate) fn key_set_of(&self, device: &KnownDevice) -> Result<KeySet, Error> {
        let address = Address {
            account: self.find.account,
            device: device.device,
        };
        KeySet::verify(&device.key_set, &self.find.root, &address).map_err(Error::Stored)
    }

    /// The readers of a phone in a fixed order: the find client, every client of the list that has the phone, and of the present ones those whose keys are known from nowhere else.
    pub(crate) fn readers_from(
        &self,
        list: &AuthorityList,
        device: DeviceId,
        present: &[Reader],
    ) -> Vec<Reader> {
        let finder = self.find_reader();
        let mut readers = vec![finder];
        for entry in &list.entries {
            let id = entry.key.client_id();
            let known = self.full.clients.iter().find(|known| known.client == id);
            match known {
                Some(known) if has(known, device) => readers.push(Reader {
                    client: id,
                    key: known.reading,
                    reads: reads(entry.capabilities),
                }),
                Some(_) => {}
                None => {
                    let own = present.iter().filter(|reader| reader.client == id);
                    readers.extend(own.filter(|reader| reader.client != finder.client));
                }
            }
        }
        readers
    }

    /// A keyring of the first builds does not say which clients are delegates: who may do less than an owner's machine is one, with the phones that it reads.
    pub(crate) fn tell_delegates_apart(&mut self) -> Result<(), Error> {
        let list = self.authority()?;
        for at in 0..self.full.clients.len() {
            let known = &self.full.clients[at];
            let id = known.client;
            let entry = list.entry(id).filter(|_| known.phones.is_none());
            let Some(entry) = entry else { continue };
            let bits = entry.capabilities.bits();
            // The machines of the first builds could do what a find client can.
            if bits & Capabilities::find().bits() == Capabilities::find().bits() {
                continue;
            }
            let mut phones = Vec::new();
            for device in &self.find.devices {
                if !device.key_set.is_empty()
                    && self
                        .key_set_of(device)?
                        .readers
                        .iter()
                        .any(|reader| reader.client == id)
                {
                    phones.push(device.device);
                }
            }
            self.full.clients[at].phones = Some(phones);
        }
        Ok(())
    }

    /// The readers of a phone that joins now: the find client, the owner's own machines, and the delegates that were given this phone before.
    ///
    /// # Errors
    /// [`Error::Stored`].
    pub fn readers(&self, device: DeviceId) -> Result<Vec<Reader>, Error> {
        let mut account = self.clone();
        account.tell_delegates_apart()?;
        Ok(account.readers_from(&account.authority()?, device, &[]))
    }

    /// Every client but the find client, which belongs to the passphrase, and the full client, which belongs to ROOT: they
    /// are nobody's machine, and nobody puts them out.
    ///
    /// # Errors
    /// [`Error::Stored`].
    pub fn machines(&self) -> Result<Vec<ClientId>, Error> {
        let list = self.authority()?;
        let full = self.full_client().public();
        let machines = list
            .entries
            .iter()
            .filter(|entry| entry.kind != ClientKind::Find && entry.key != full);
        Ok(machines.map(|entry| entry.key.client_id()).collect())
    }

    /// What each delegate is to know now: its phones that have joined, and the list.
    ///
    /// # Errors
    /// [`Error::Stored`], [`Error::Seal`].
    pub fn notices(&self, rng: &mut impl CryptoRng) -> Result<Vec<(ClientId, Vec<u8>)>, Error> {
        let list = self.authority()?;
        let mut notices = Vec::new();
        for known in &self.full.clients {
            if known.phones.is_none() || list.entry(known.client).is_none() {
                continue;
            }
            let devices = self.find.devices.iter();
            let notice = Notice {
                account: self.find.account,
                client: known.client,
                number: self.generation(),
                authority: self.find.authority.clone(),
                devices: devices
                    .filter(|device| !device.certificate.is_empty() && has(known, device.device))
                    .cloned()
                    .collect(),
            };
            let bytes = notice.seal(&self.full.root, &known.reading, rng);
            notices.push((known.client, bytes.map_err(Error::Seal)?));
        }
        Ok(notices)
    }

    /// The answer to a request that was added: everything the new machine needs, sealed to it. With `kit`, it becomes one of the owner's own machines, which opens the keyring with the passphrase; a delegate gets neither.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn answer(
        &self,
        request: &ClientRequest,
        tls: &TlsIdentity<'_>,
        share: Option<(&KitSecret, &[u8])>,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Error> {
        let known = self.full.clients.iter();
        let known = known.clone().find(|known| known.client == request.client());
        let devices = self.find.devices.iter();
        // A delegate learns of its phones alone.
        let devices = devices.filter(|device| known.is_none_or(|known| has(known, device.device)));
        let devices = devices.cloned().collect();
        let answer = ClientAnswer {
            account: self.find.account,
            root: self.find.root,
            broker: self.find.broker.clone(),
            ca_pem: self.find.ca_pem.clone(),
            tls_certificate_pem: tls.certificate_pem.to_owned(),
            tls_key_pem: Zeroizing::new(tls.key_pem.to_owned()),
            authority: self.find.authority.clone(),
            devices,
            owners: share.map(|(kit, keyring)| OwnersShare {
                kit: kit.clone(),
                keyring: keyring.to_vec(),
            }),
        };
        answer.seal(request, rng).map_err(Error::Seal)
    }
}

/// A TLS certificate with its key, both PEM.
#[derive(Clone, Copy)]
pub struct TlsIdentity<'a> {
    /// The certificate.
    pub certificate_pem: &'a str,
    /// Its private key.
    pub key_pem: &'a str,
}

impl core::fmt::Debug for TlsIdentity<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TlsIdentity(redacted)")
    }
}

/// Whether a client has a phone.
fn has(known: &KnownClient, device: DeviceId) -> bool {
    known
        .phones
        .as_ref()
        .is_none_or(|phones| phones.contains(&device))
}

/// Each once, the newest last, as many as a keyring remembers.
pub(crate) fn remembered<'a>(put_out: impl Iterator<Item = &'a ClientId>) -> Vec<ClientId> {
    let mut once: Vec<ClientId> = Vec::new();
    for client in put_out {
        if !once.contains(client) {
            once.push(*client);
        }
    }
    once.split_off(once.len().saturating_sub(MOST_PUT_OUT))
}

/// Whether two key sets name the same readers, in whatever order.
pub(crate) fn same_readers(one: &[Reader], other: &[Reader]) -> bool {
    one.len() == other.len() && one.iter().all(|reader| other.contains(reader))
}

/// The list of an account that ROOT signed, with this client's own entry in it.
///
/// # Errors
/// [`Error::Stored`] when ROOT did not sign it or the client is not in it.
pub fn own_entry(
    authority: &[u8],
    root: &VerifyingKey,
    account: AccountId,
    client: ClientId,
) -> Result<(AuthorityList, Entry), Error> {
    let list = AuthorityList::verify(authority, root, account).map_err(Error::Stored)?;
    let entry = list.entry(client).copied();
    let entry = entry.ok_or(Error::Stored(homing_protocol::Malformed::Misdirected))?;
    Ok((list, entry))
}
