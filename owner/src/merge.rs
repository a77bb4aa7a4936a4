//! Two states of one account that were made apart become one, by a rule that gives every machine the same result. Signs lists, issues no certificates, asks nobody.
use crate::Error;
use crate::account::Unlocked;
use crate::clients::{remembered, same_readers};
use homing_protocol::authority::{AuthorityList, Capabilities, Entry, MOST_ENTRIES};
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::envelope::Address;
use homing_protocol::id::{ClientId, DeviceId};
use homing_protocol::keyring::{KnownClient, KnownDevice};
use homing_protocol::keys::sha256;
use homing_protocol::readers::MOST_READERS;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// One machine's state of the account, and the serial numbers on its revocation list.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The account.
    pub account: &'a Unlocked,
    /// Revoked certificates, 16 bytes each.
    pub revoked: &'a [Vec<u8>],
}

/// How two states of an account stand to each other.
#[derive(Clone, Debug)]
#[must_use]
pub enum Meeting {
    /// They say the same under the same number.
    Same,
    /// Ours holds all that theirs holds.
    Older,
    /// Theirs holds all that ours holds: it can be taken as it is.
    Newer,
    /// Each holds something that the other lacks, or they numbered different lists alike.
    Forked(Box<Merged>),
}

/// What two machines that had changed the account apart become.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The account with both changes; its lists are numbered above both. The keyring's next generation is above both too.
    pub account: Unlocked,
    /// All serial numbers that belong on the revocation list.
    pub revoked: Vec<Vec<u8>>,
    /// What became of each side's changes.
    pub account_of: Outcome,
}

/// What became of the two sides, for people. Clients by name where one is known, else by id; phones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The version of the list that holds both.
    pub list: u64,
    /// Clients and phones that only one side had and that stay.
    pub kept: Vec<String>,
    /// Clients and phones that one side had and the other had put out: they are out.
    pub put_out: Vec<String>,
    /// Clients that a client had added which the other side had put out, and clients for which there is no room: they are out too.
    pub refused: Vec<String>,
}

/// Which of two states leads: its order and its names count. Both machines see the same one leading.
fn rank(account: &Unlocked, list: &AuthorityList) -> (u64, u64, Reverse<[u8; 32]>) {
    let digest = Reverse(sha256(&account.find.authority));
    (list.version, account.generation(), digest)
}

/// Compares two states of an account and, where neither holds the other, makes one of them.
///
/// A client that either side put out is out; what it has added on the other side meanwhile is out too. Every other client and phone stays, with the rights that either side gave it.
///
/// # Errors
/// [`Error::Stored`], [`Error::Seal`].
pub fn meet(ours: State<'_>, theirs: State<'_>) -> Result<Meeting, Error> {
    let (our_list, their_list) = (ours.account.authority()?, theirs.account.authority()?);
    let ours_leads = rank(ours.account, &our_list) >= rank(theirs.account, &their_list);
    let merged = if ours_leads {
        Merger::new((ours, &our_list), (theirs, &their_list)).run()?
    } else {
        Merger::new((theirs, &their_list), (ours, &our_list)).run()?
    };
    let is_ours = same_content(&merged, ours);
    let is_theirs = same_content(&merged, theirs);
    let (our_number, their_number) = (ours.account.generation(), theirs.account.generation());
    Ok(if is_theirs && their_number > our_number {
        Meeting::Newer
    } else if is_ours && is_theirs && our_number == their_number {
        Meeting::Same
    } else if is_ours && our_number > their_number {
        Meeting::Older
    } else {
        Meeting::Forked(Box::new(merged))
    })
}

/// Whether a state already says all that the merged one says, in the same signed words.
fn same_content(merged: &Merged, state: State<'_>) -> bool {
    let (find, full) = (&merged.account.find, &merged.account.full);
    let serials = |list: &[Vec<u8>]| list.iter().cloned().collect::<BTreeSet<_>>();
    let ids = |list: &[ClientId]| list.iter().map(|id| id.0).collect::<BTreeSet<_>>();
    let same_devices = find.devices.len() == state.account.find.devices.len()
        && find
            .devices
            .iter()
            .all(|device| state.account.find.devices.contains(device));
    let same_clients = full.clients.len() == state.account.full.clients.len()
        && full
            .clients
            .iter()
            .all(|client| state.account.full.clients.contains(client));
    find.authority == state.account.find.authority
        && same_devices
        && same_clients
        && ids(&full.put_out) == ids(&state.account.full.put_out)
        && serials(&merged.revoked) == serials(state.revoked)
}

struct Merger<'a> {
    leads: State<'a>,
    follows: State<'a>,
    /// The lists of both.
    lists: (&'a AuthorityList, &'a AuthorityList),
    revoked: BTreeSet<Vec<u8>>,
    put_out: Vec<ClientId>,
    outcome: Outcome,
}

impl<'a> Merger<'a> {
    fn new(leads: (State<'a>, &'a AuthorityList), follows: (State<'a>, &'a AuthorityList)) -> Self {
        let mut put_out: Vec<ClientId> = leads.0.account.full.put_out.clone();
        // Sorted, so that it does not matter who leads.
        put_out.extend(&follows.0.account.full.put_out);
        let both = leads.0.revoked.iter().chain(follows.0.revoked);
        Self {
            leads: leads.0,
            follows: follows.0,
            lists: (leads.1, follows.1),
            revoked: both.cloned().collect(),
            put_out: remembered(put_out.iter()),
            outcome: Outcome::default(),
        }
    }

    fn run(mut self) -> Result<Merged, Error> {
        let mut account = self.leads.account.clone();
        account.generation = account.generation.max(self.follows.account.generation());
        let entries = self.entries();
        let mut list = AuthorityList {
            entries,
            ..self.lists.0.clone()
        };
        account.full.clients = self.clients(&list);
        account.full.put_out = remembered(self.put_out.iter());
        account.find.devices = self.devices(&account)?;
        self.fit_readers(&mut account, &mut list)?;
        let (first, second) = self.lists;
        let unchanged = list.entries == first.entries;
        let alike = self.leads.account.find.authority == self.follows.account.find.authority;
        if !unchanged || (first.version == second.version && !alike) {
            list.version = first.version.max(second.version) + 1;
            account.find.authority = list.sign(&account.full.root).map_err(Error::Seal)?;
        }
        self.key_sets(&mut account, &list)?;
        self.outcome.list = list.version;
        Ok(Merged {
            account,
            revoked: self.revoked.into_iter().collect(),
            account_of: self.outcome,
        })
    }

    fn known(&self, client: ClientId) -> Option<&'a KnownClient> {
        let (first, second) = (self.leads.account, self.follows.account);
        let mut known = first.full.clients.iter().chain(&second.full.clients);
        known.find(|known| known.client == client)
    }

    fn name(&self, client: ClientId) -> String {
        self.known(client)
            .map_or_else(|| client.to_string(), |known| known.name.clone())
    }

    fn is_out(&self, client: ClientId) -> bool {
        let (first, second) = (self.leads.account, self.follows.account);
        let mut known = first.full.clients.iter().chain(&second.full.clients);
        self.put_out.contains(&client)
            || known.any(|known| known.client == client && self.revoked.contains(&known.tls_serial))
    }

    /// Puts a client out for good, its certificate too.
    fn refuse(&mut self, client: ClientId) {
        self.outcome.refused.push(self.name(client));
        if let Some(known) = self.known(client) {
            self.revoked.insert(known.tls_serial.clone());
        }
        self.put_out.push(client);
    }

    /// The entries of the merged list, the leading side's first.
    fn entries(&mut self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let sides = [(self.lists.0, self.lists.1), (self.lists.1, self.lists.0)];
        for (at, (own, other)) in sides.into_iter().enumerate() {
            for entry in &own.entries {
                let id = entry.key.client_id();
                if entries.iter().any(|known| known.key == entry.key) {
                    continue;
                }
                let theirs = other.entry(id);
                if self.is_out(id) {
                    if !self.outcome.refused.contains(&self.name(id)) {
                        self.outcome.put_out.push(self.name(id));
                    }
                } else if entries.len() >= MOST_ENTRIES
                    || (theirs.is_none() && self.was_added_by_an_outcast(id, at))
                {
                    self.refuse(id);
                } else {
                    let more = theirs.map_or(0, |theirs| theirs.capabilities.bits());
                    let bits = entry.capabilities.bits() | more;
                    entries.push(Entry {
                        capabilities: Capabilities::from_bits(bits),
                        ..*entry
                    });
                    if theirs.is_none() {
                        self.outcome.kept.push(self.name(id));
                    }
                }
            }
        }
        entries
    }

    /// Whether the side that lacks a client had put out the one who added it.
    fn was_added_by_an_outcast(&self, client: ClientId, side: usize) -> bool {
        let other = if side == 0 { self.follows } else { self.leads };
        let by = self.known(client).and_then(|known| known.added_by);
        by.is_some_and(|by| other.account.full.put_out.contains(&by))
    }

    /// What is known of each client of the list; a delegate keeps the phones that either side gave it.
    fn clients(&self, list: &AuthorityList) -> Vec<KnownClient> {
        let (first, second) = (self.leads.account, self.follows.account);
        let mut clients: Vec<KnownClient> = Vec::new();
        for known in first.full.clients.iter().chain(&second.full.clients) {
            let is_new = clients.iter().all(|other| other.client != known.client);
            if is_new && list.entry(known.client).is_some() {
                let mut known = known.clone();
                let other = second.full.clients.iter();
                let mut other = other.filter(|other| other.client == known.client);
                if let Some(more) = other.find_map(|other| other.phones.as_ref()) {
                    let phones = known.phones.get_or_insert_default();
                    for phone in more {
                        if !phones.contains(phone) {
                            phones.push(*phone);
                        }
                    }
                }
                clients.push(known);
            }
        }
        clients
    }

    /// Every phone of either side that neither has put out; of two enrolments of one phone the later.
    fn devices(&mut self, account: &Unlocked) -> Result<Vec<KnownDevice>, Error> {
        let (first, second) = (self.leads.account, self.follows.account);
        let mut devices: Vec<KnownDevice> = Vec::new();
        for (own, other) in [(first, second), (second, first)] {
            for known in &own.find.devices {
                if devices.iter().any(|device| device.device == known.device) {
                    continue;
                }
                let rival = other.find.devices.iter();
                let rival = rival.clone().find(|rival| rival.device == known.device);
                let candidates = [Some(known), rival].into_iter().flatten();
                let living = candidates.filter(|one| !self.revoked.contains(&one.tls_serial));
                let mut best: Option<(&KnownDevice, (u32, u64))> = None;
                for one in living {
                    let age = self.age(account, one)?;
                    if best.is_none_or(|(_, other)| age > other) {
                        best = Some((one, age));
                    }
                }
                match best {
                    Some((best, _)) => {
                        devices.push(KnownDevice {
                            name: known.name.clone(),
                            ..best.clone()
                        });
                        if rival.is_none() {
                            self.outcome.kept.push(known.name.clone());
                        }
                    }
                    None => self.outcome.put_out.push(known.name.clone()),
                }
            }
        }
        Ok(devices)
    }

    /// Enrolment number and version of the key set; 0 for a phone that has not joined yet.
    fn age(&self, account: &Unlocked, device: &KnownDevice) -> Result<(u32, u64), Error> {
        if device.certificate.is_empty() {
            return Ok((0, 0));
        }
        let address = Address {
            account: account.find.account,
            device: device.device,
        };
        let root = &account.find.root;
        let certificate = DeviceCertificate::verify(&device.certificate, root, &address)
            .map_err(Error::Stored)?;
        let set = if device.key_set.is_empty() {
            0
        } else {
            account.key_set_of(device)?.version
        };
        Ok((certificate.epoch, set))
    }

    /// Puts out the last of the list until every phone can name its readers: both sides together may be more than one could add.
    fn fit_readers(
        &mut self,
        account: &mut Unlocked,
        list: &mut AuthorityList,
    ) -> Result<(), Error> {
        let phones: Vec<DeviceId> = account
            .find
            .devices
            .iter()
            .map(|device| device.device)
            .chain([DeviceId([0; 16])])
            .collect();
        for phone in phones {
            loop {
                let readers = account.readers_from(list, phone, &[]);
                let Some(last) = readers.last().filter(|_| readers.len() > MOST_READERS) else {
                    break;
                };
                let last = last.client;
                self.refuse(last);
                list.entries.retain(|entry| entry.key.client_id() != last);
                account.full.clients.retain(|known| known.client != last);
            }
        }
        account.full.put_out = remembered(self.put_out.iter());
        Ok(())
    }

    /// A key set for each phone whose readers are not right, or of which each side has signed another of the same number; above both.
    fn key_sets(&self, account: &mut Unlocked, list: &AuthorityList) -> Result<(), Error> {
        let mut devices = account.find.devices.clone();
        for device in devices.iter_mut().filter(|one| !one.key_set.is_empty()) {
            let mut set = account.key_set_of(device)?;
            let mut present = set.readers.clone();
            let (mut highest, mut forked) = (set.version, false);
            for side in [self.leads.account, self.follows.account] {
                for other in &side.find.devices {
                    if other.device == device.device && !other.key_set.is_empty() {
                        let other_set = side.key_set_of(other)?;
                        forked |=
                            other_set.version == set.version && other.key_set != device.key_set;
                        highest = highest.max(other_set.version);
                        let more = other_set.readers.iter();
                        let more: Vec<_> = more
                            .filter(|reader| {
                                present.iter().all(|known| known.client != reader.client)
                            })
                            .copied()
                            .collect();
                        present.extend(more);
                    }
                }
            }
            let mut readers = account.readers_from(list, device.device, &present);
            readers.truncate(MOST_READERS);
            if forked || highest > set.version || !same_readers(&readers, &set.readers) {
                set.readers = readers;
                set.version = highest + 1;
                device.key_set = set.sign(&account.full.root).map_err(Error::Seal)?;
            }
        }
        account.find.devices = devices;
        Ok(())
    }
}
