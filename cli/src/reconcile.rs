//! Brings together what two machines changed apart, once the account is unlocked here; and finds lists that phones follow and nobody has shown to this machine. Publishes nothing itself.
use crate::error::Error;
use crate::exchange::rng;
use crate::household::{BrokerFiles, Serial, revoked_serials};
use crate::output::harmless;
use crate::renewal::{freshen, revoke_certificates, take_in};
use crate::store::{Renewal, Store};
use homing_owner::account::Unlocked;
use homing_owner::clients::Floors;
use homing_owner::merge::{Meeting, Merged, Outcome, State, meet};
use homing_protocol::beacon::list_digest;
use homing_protocol::envelope::Address;
use homing_protocol::readers::KeySet;

/// Compares the keyring that another machine left at the broker with ours, and takes it over, merges both, or puts it aside. Gives a sentence when two machines had changed the account apart.
pub(crate) fn reconcile(
    store: &mut Store,
    account: &mut Unlocked,
) -> Result<Option<String>, Error> {
    let mut told = None;
    // A machine that was put out learns it here, and changes nothing any more.
    while let Some(offered) = store.offered_keyring()? {
        freshen(store, account)?;
        let Ok(theirs) = account.reopen(&offered) else {
            // Not ours: whoever put it there has no key of the account.
            store.weighed(&offered)?;
            continue;
        };
        let (our_list, their_list) = (serials(account)?, serials(&theirs)?);
        let ours = State {
            account,
            revoked: &our_list,
        };
        let meeting = meet(
            ours,
            State {
                account: &theirs,
                revoked: &their_list,
            },
        )?;
        match meeting {
            Meeting::Same => store.forks_ended("both machines hold the same now")?,
            Meeting::Older => {
                store.publish_keyring_again()?;
                store.forks_ended("this machine holds what the other one had changed")?;
            }
            Meeting::Newer => {
                if store.adopt_keyring(&theirs, &offered)? == Renewal::Missed {
                    continue;
                }
                *account = theirs;
                store.forks_ended("the other machine's change was taken over")?;
            }
            Meeting::Forked(merged) => {
                let Some(outcome) = merge(store, account, *merged)? else {
                    continue;
                };
                let sentence = sentence(&outcome);
                store.fork_seen("two machines changed the account apart")?;
                store.forks_ended(&sentence)?;
                told = Some(sentence);
            }
        }
        store.weighed(&offered)?;
    }
    let own = store.account()?.client.id();
    if account.full.put_out.contains(&own) {
        return Err(Error::PutOut);
    }
    Ok(told)
}

/// Stores the merged account as the next keyring; `None` when another process was faster.
fn merge(
    store: &mut Store,
    account: &mut Unlocked,
    merged: Merged,
) -> Result<Option<Outcome>, Error> {
    let mut next = merged.account;
    revoke_certificates(store, &mut next, &merged.revoked)?;
    let blob = next.wrap_next(&mut rng())?;
    if store.renew_keyring(&next, &blob)? == Renewal::Missed {
        return Ok(None);
    }
    take_in(store, &mut next)?;
    if next.full.crl_pem != account.full.crl_pem {
        BrokerFiles::inside(store.home()).write_revocations(&next.full.crl_pem)?;
    }
    *account = next;
    Ok(Some(merged.account_of))
}

fn serials(account: &Unlocked) -> Result<Vec<Vec<u8>>, Error> {
    let list = revoked_serials(&account.full.crl_pem)?;
    Ok(list
        .into_iter()
        .map(|Serial(serial)| serial.to_vec())
        .collect())
}

/// What became of both sides, for people.
fn sentence(outcome: &Outcome) -> String {
    let names = |names: &[String]| harmless(&names.join(", "));
    let mut parts = vec![format!(
        "both changes are in authority list {} now",
        outcome.list
    )];
    for (what, list) in [
        ("kept from one side", &outcome.kept),
        ("put out by one side and out", &outcome.put_out),
        (
            "not admitted, because who added it was put out or there is no room",
            &outcome.refused,
        ),
    ] {
        if !list.is_empty() {
            parts.push(format!("{what}: {}", names(list)));
        }
    }
    parts.join("; ")
}

/// A list that a phone follows and that this machine was not shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unseen {
    /// The first phone that follows one, and the version there.
    pub(crate) list: Option<(String, u64)>,
    /// What has to be numbered above.
    pub(crate) floors: Floors,
}

/// Looks at every phone's newest beacon for lists that are not in the account.
pub(crate) fn unseen(store: &Store, account: &Unlocked) -> Result<Unseen, Error> {
    let held = store.account()?;
    let own = account.authority()?.version;
    let mut unseen = Unseen::default();
    for row in store.devices()? {
        let (Some(phone), Some(stored)) = (row.phone(held.id, &held.root)?, store.beacon(row.id)?)
        else {
            continue;
        };
        let Ok(heard) = phone.hear_beacon(&stored.bytes, &held.client.reading) else {
            continue;
        };
        let (beacon, lists) = (&heard.beacon, heard.status.and_then(|status| status.lists));
        let theirs = beacon.authority_version;
        let other =
            lists.is_some_and(|lists| lists.authority != list_digest(&account.find.authority));
        if theirs > own || (theirs == own && other) {
            unseen.list.get_or_insert((row.name.clone(), theirs));
            unseen.floors.list = unseen.floors.list.max(theirs);
        }
        let known = account
            .find
            .devices
            .iter()
            .find(|known| known.device == row.id);
        let set = known.filter(|known| !known.key_set.is_empty());
        let Some(set) = set.map(|known| &known.key_set) else {
            continue;
        };
        let address = Address {
            account: held.id,
            device: row.id,
        };
        let own = KeySet::verify(set, &held.root, &address).map_err(homing_owner::Error::Stored)?;
        let other = lists.is_some_and(|lists| lists.key_set != list_digest(set));
        if beacon.key_set_version > own.version || (beacon.key_set_version == own.version && other)
        {
            unseen
                .floors
                .key_sets
                .insert(row.id, beacon.key_set_version);
        }
    }
    Ok(unseen)
}

/// The numbers above which a list has to lie; refused while a phone follows a list that was not shown here, because who is put out there must not come back.
///
/// # Errors
/// [`Error::UnseenList`].
pub(crate) fn floors(store: &Store, account: &Unlocked) -> Result<Floors, Error> {
    let unseen = unseen(store, account)?;
    match unseen.list {
        Some((phone, theirs)) => Err(Error::UnseenList {
            phone: harmless(&phone),
            theirs,
            ours: account.authority()?.version,
        }),
        None => Ok(unseen.floors),
    }
}
