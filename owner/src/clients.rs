//! Who else may order and read: adds and drops clients in the authority list, the key sets and the keyring, all or nothing. Issues no certificates and writes no files.
use crate::Error;
use crate::account::Unlocked;
use homing_protocol::admission::{ClientAnswer, ClientRequest, OwnersShare};
use homing_protocol::authority::{
    AuthorityList, Capabilities, Capability, ClientKind, Entry, MOST_ENTRIES,
};
use homing_protocol::envelope::Address;
use homing_protocol::id::{AccountId, ClientId};
use homing_protocol::keyring::{KitSecret, KnownClient, KnownDevice};
use homing_protocol::keys::{KemPublic, VerifyingKey};
use homing_protocol::rand_core::CryptoRng;
use homing_protocol::readers::{KeySet, MOST_READERS, Reader, Reads};
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
        }
    }

    fn reader(&self) -> Reader {
        Reader {
            client: self.key.client_id(),
            key: self.reading,
            reads: reads(self.capabilities),
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
    /// Signs the next authority list without the clients `dropped` and with `added`, and the next key set of every enrolled phone whose readers change by it. Gives the serial numbers of the dropped clients' certificates; they belong on the revocation list. On an error nothing has changed.
    ///
    /// # Errors
    /// [`Error::TooManyClients`], [`Error::TooManyReaders`], [`Error::Stored`], [`Error::Seal`].
    pub fn change_clients(
        &mut self,
        dropped: &[ClientId],
        added: Option<&Candidate>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut list = self.authority()?;
        list.version += 1;
        list.entries
            .retain(|entry| !dropped.contains(&entry.key.client_id()));
        if let Some(added) = added {
            list.entries.retain(|entry| entry.key != added.key);
            if list.entries.len() >= MOST_ENTRIES {
                return Err(Error::TooManyClients);
            }
            list.entries.push(added.entry());
        }
        let (gone, mut clients): (Vec<_>, Vec<_>) = self
            .full
            .clients
            .iter()
            .cloned()
            .partition(|known| dropped.contains(&known.client));
        if let Some(added) = added {
            clients.retain(|known| known.client != added.key.client_id());
            clients.push(added.known());
        }
        if readers_of(&list, &clients).len() >= MOST_READERS {
            return Err(Error::TooManyReaders);
        }
        let devices = self.with_readers(&list, added.map(Candidate::reader))?;
        self.find.authority = list.sign(&self.full.root).map_err(Error::Seal)?;
        self.find.devices = devices;
        self.full.clients = clients;
        Ok(gone.into_iter().map(|known| known.tls_serial).collect())
    }

    /// Gives a client of the list one more capability, by the next list.
    ///
    /// # Errors
    /// [`Error::Stored`], [`Error::Seal`].
    pub fn grant(&mut self, client: ClientId, capability: Capability) -> Result<(), Error> {
        let mut list = self.authority()?;
        list.version += 1;
        for entry in &mut list.entries {
            if entry.key.client_id() == client {
                let more = 1 << capability as u32;
                entry.capabilities = Capabilities::from_bits(entry.capabilities.bits() | more);
            }
        }
        self.find.authority = list.sign(&self.full.root).map_err(Error::Seal)?;
        Ok(())
    }

    /// The phones with next key sets: who is not in the list drops out, `added` comes in.
    fn with_readers(
        &self,
        list: &AuthorityList,
        added: Option<Reader>,
    ) -> Result<Vec<KnownDevice>, Error> {
        let mut devices = self.find.devices.clone();
        for device in devices
            .iter_mut()
            .filter(|device| !device.key_set.is_empty())
        {
            let address = Address {
                account: self.find.account,
                device: device.device,
            };
            let mut set = KeySet::verify(&device.key_set, &self.find.root, &address)
                .map_err(Error::Stored)?;
            let before = set.readers.clone();
            set.readers.retain(|reader| {
                list.entry(reader.client).is_some()
                    && added.is_none_or(|added| added.client != reader.client)
            });
            set.readers.extend(added);
            if set.readers.len() > MOST_READERS {
                return Err(Error::TooManyReaders);
            }
            if set.readers != before {
                set.version += 1;
                device.key_set = set.sign(&self.full.root).map_err(Error::Seal)?;
            }
        }
        Ok(devices)
    }

    /// The readers of a phone that joins now: the find client and every client of the list whose reading key is known.
    ///
    /// # Errors
    /// [`Error::Stored`].
    pub fn readers(&self) -> Result<Vec<Reader>, Error> {
        let mut readers = vec![self.find_reader()];
        readers.extend(readers_of(&self.authority()?, &self.full.clients));
        Ok(readers)
    }

    /// Every client but the find client, which belongs to the passphrase and not to a machine.
    ///
    /// # Errors
    /// [`Error::Stored`].
    pub fn machines(&self) -> Result<Vec<ClientId>, Error> {
        let list = self.authority()?;
        let machines = list
            .entries
            .iter()
            .filter(|entry| entry.kind != ClientKind::Find);
        Ok(machines.map(|entry| entry.key.client_id()).collect())
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
        let answer = ClientAnswer {
            account: self.find.account,
            root: self.find.root,
            broker: self.find.broker.clone(),
            ca_pem: self.find.ca_pem.clone(),
            tls_certificate_pem: tls.certificate_pem.to_owned(),
            tls_key_pem: Zeroizing::new(tls.key_pem.to_owned()),
            authority: self.find.authority.clone(),
            devices: self.find.devices.clone(),
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

fn readers_of(list: &AuthorityList, clients: &[KnownClient]) -> Vec<Reader> {
    let known = clients.iter().filter_map(|known| {
        let entry = list.entry(known.client)?;
        Some(Reader {
            client: known.client,
            key: known.reading,
            reads: reads(entry.capabilities),
        })
    });
    known.collect()
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
