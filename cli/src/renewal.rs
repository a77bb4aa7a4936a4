//! Changes the account's keyring: always on top of the newest blob stored here, and with what this machine knows beside it. Asks for no passphrase.
use crate::error::Error;
use crate::exchange::rng;
use crate::household::{Authority, BrokerFiles, Serial, revoked_serials};
use crate::store::{Renewal, Standing, Store};
use homing_owner::account::Unlocked;
use homing_protocol::keyring::Keyring;

/// Whether phones that were put out here were still missing from the revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevocationList {
    /// None was.
    Same,
    /// They were added.
    Longer,
}

/// Makes `change` to the newest keyring and stores the result; when another process was faster, again on top of what that one wrote. Gives the blob.
pub(crate) fn change(
    store: &mut Store,
    account: &mut Unlocked,
    mut change: impl FnMut(&mut Store, &mut Unlocked) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let list = account.full.crl_pem.clone();
    loop {
        freshen(store, account)?;
        let mut next = account.clone();
        take_in(store, &mut next)?;
        change(store, &mut next)?;
        let blob = next.wrap_next(&mut rng())?;
        if store.renew_keyring(&next, &blob)? == Renewal::Missed {
            continue;
        }
        *account = next;
        if account.full.crl_pem != list {
            BrokerFiles::inside(store.home()).write_revocations(&account.full.crl_pem)?;
        }
        return Ok(blob);
    }
}

/// Replaces an account that was unlocked earlier by what another process has stored since.
pub(crate) fn freshen(store: &Store, account: &mut Unlocked) -> Result<(), Error> {
    let held = store.account()?.keyring;
    let generation = Keyring::parse(&held).map_or(0, |keyring| keyring.generation);
    if generation > account.generation() {
        *account = account.reopen(&held)?;
    }
    Ok(())
}

/// Brings account and rows together: whoever is put out in either is put out in both, every other phone is remembered as it is known here.
pub(crate) fn take_in(store: &mut Store, account: &mut Unlocked) -> Result<RevocationList, Error> {
    let listed = revoked_serials(&account.full.crl_pem)?;
    let mut out = store.retired_serials()?;
    let is_listed = |serial: &[u8]| listed.iter().any(|one| one.0.as_slice() == serial);
    for mut row in store.devices()? {
        let kept = account.find.devices.iter();
        let elsewhere = kept
            .filter(|known| known.device == row.id && known.tls_serial != row.tls_serial)
            .find(|known| is_listed(&row.tls_serial) && !is_listed(&known.tls_serial));
        if let Some(known) = elsewhere
            && row.standing != Standing::Revoked
        {
            // Its old certificate was revoked because another machine enrols it again.
            store.invited_elsewhere(&row, &known.tls_serial)?;
            row = store.device(row.id)?.ok_or(Error::Damaged("device"))?;
        }
        if is_listed(&row.tls_serial) || row.standing == Standing::Revoked {
            store.revoked(row.id)?;
            account.forget(row.id);
            out.push(row.tls_serial);
        } else {
            account.remember(row.known());
        }
    }
    let before = account.full.crl_pem.clone();
    revoke_certificates(store, account, &out)?;
    Ok(if account.full.crl_pem == before {
        RevocationList::Same
    } else {
        RevocationList::Longer
    })
}

/// Puts certificates on the account's revocation list; the caller writes the list out. Serial numbers that are none of ours are passed over.
pub(crate) fn revoke_certificates(
    store: &mut Store,
    account: &mut Unlocked,
    serials: &[Vec<u8>],
) -> Result<(), Error> {
    let mut revoked = revoked_serials(&account.full.crl_pem)?;
    let before = revoked.len();
    for serial in serials {
        if let Ok(serial) = <[u8; 16]>::try_from(serial.as_slice())
            && !revoked.contains(&Serial(serial))
        {
            revoked.push(Serial(serial));
        }
    }
    if revoked.len() > before {
        let number = store.next_crl_number()?;
        account.full.crl_pem = household(account)?.revocation_list(number, &revoked)?;
    }
    Ok(())
}

/// The household's authority of an unlocked account.
pub(crate) fn household(account: &Unlocked) -> Result<Authority, Error> {
    let end = "-----END CERTIFICATE-----";
    let first = account
        .find
        .ca_pem
        .split_inclusive(end)
        .next()
        .unwrap_or_default();
    Authority::load(&format!("{first}\n"), &account.full.ca_key_pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretend::household;

    #[test]
    fn a_revocation_is_not_undone_by_who_was_unlocked_before_it() {
        let house = household();
        house.enrol();
        let device = house.device();
        let serial = Serial([1; 16]);
        // `watch` unlocked before, another process puts the phone out, then `watch` writes.
        let (mut watch, mut other) = (house.account.clone(), house.account.clone());
        house.store().revoked(device).expect("put out");
        change(&mut house.store(), &mut other, |_, _| Ok(())).expect("written");
        change(&mut house.store(), &mut watch, |_, _| Ok(())).expect("written");
        let held = house.store().account().expect("account").keyring;
        let now = house.account.reopen(&held).expect("opened");
        let listed = revoked_serials(&now.full.crl_pem).expect("list");
        assert!(listed.contains(&serial));
        assert!(now.find.devices.iter().all(|known| known.device != device));
        assert_eq!(now.generation(), house.account.generation() + 2);
    }

    #[test]
    fn a_stale_keyring_is_not_stored_and_its_change_is_made_again_on_the_newest() {
        let house = household();
        let (mut one, mut two) = (house.account.clone(), house.account.clone());
        let mut store = house.store();
        let blob = two.wrap_next(&mut rng()).expect("wrapped");
        let mut times = 0;
        change(&mut store, &mut one, |store, _| {
            times += 1;
            if times == 1 {
                assert_eq!(store.renew_keyring(&two, &blob)?, Renewal::Stored);
            }
            Ok(())
        })
        .expect("written");
        assert_eq!((times, one.generation()), (2, two.generation() + 1));
    }

    #[test]
    fn putting_a_phone_out_again_changes_nothing_and_takes_up_what_was_interrupted() {
        let house = household();
        let mut store = house.store();
        let mut account = house.account.clone();
        store.revoked(house.device()).expect("put out");
        let news = store.newest_news().expect("asked");
        // The process ended here; the next one that is unlocked goes on.
        assert_eq!(
            take_in(&mut store, &mut account).expect("taken in"),
            RevocationList::Longer
        );
        assert_eq!(
            take_in(&mut store, &mut account).expect("taken in"),
            RevocationList::Same
        );
        let row = store.device_to_revoke("pocket").expect("known");
        store.revoked(row.id).expect("put out again");
        assert_eq!(store.newest_news().expect("asked"), news);
    }
}
