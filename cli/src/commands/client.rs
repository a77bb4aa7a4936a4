//! `client …` and `clients`: further machines of the owner and delegates. Two files carry everything; neither is of use to anybody else.
use super::account::{
    common_name, delegate_name, machine_name, refuse_account, refuse_existing, unlock,
};
use super::device::{check_name, meet};
use super::{Context, clients};
use crate::args::Client;
use crate::clock::UnixMs;
use crate::error::Error;
use crate::exchange::rng;
use crate::file::{self, Access};
use crate::household::BrokerFiles;
use crate::output::harmless;
use crate::reconcile::{floors, unseen};
use crate::renewal::{self, household, revoke_certificates};
use crate::store::{Membership, Newcomer, Standing, Store};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homing_owner::account::{ClientKeys, Unlocked};
use homing_owner::clients::{Candidate, DELEGABLE, TlsIdentity, own_entry, reads};
use homing_protocol::admission::{ClientAnswer, ClientRequest};
use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::id::{ClientId, DeviceId, SessionId};
use homing_protocol::keys::{KemSecret, SigningKey};
use homing_protocol::readers::Reads;
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// First word of a request file.
const REQUEST: &str = "homing-client-request:";
/// First word of an answer file.
const ANSWER: &str = "homing-client-answer:";

/// Carries out `homing client …`.
pub(crate) fn run(context: &Context, command: Client) -> Result<(), Error> {
    match command {
        Client::Request { out, name } => request(context, &out, name),
        Client::Add {
            request,
            can,
            name,
            out,
        } => add(context, &request, can.as_deref(), name, &out),
        Client::Accept { answer } => accept(context, &answer),
        Client::Grant { id, phone } => grant(context, &id, &phone),
        Client::List => clients::list(context),
        Client::Revoke { id, all_others } => revoke(context, id.as_deref(), all_others),
    }
}

/// Where a machine keeps its keys between its request and the answer.
fn pending(context: &Context) -> PathBuf {
    context.home.join("client-request.keys")
}

fn pending_keys(path: &Path) -> Result<ClientKeys, Error> {
    let text = Zeroizing::new(file::read_text(path)?);
    let damaged = || {
        unusable(
            path,
            "it does not hold this machine's keys; remove it and ask again",
        )
    };
    let bytes = STANDARD.decode(text.trim()).map_err(|_| damaged())?;
    let bytes = Zeroizing::new(bytes);
    let (signing, reading) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
    let reading: &[u8; 32] = reading.try_into().map_err(|_| damaged())?;
    Ok(ClientKeys {
        signing: SigningKey::from_bytes(signing),
        reading: KemSecret::from_bytes(reading),
    })
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::File {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The bytes of a file that holds one word and base64.
fn armoured(path: &Path, word: &str, what: &str) -> Result<Vec<u8>, Error> {
    let text = file::read_text(path)?;
    let inside = text.trim().strip_prefix(word);
    inside
        .and_then(|inside| STANDARD.decode(inside).ok())
        .ok_or_else(|| unusable(path, &format!("it is not {what}, or it is damaged")))
}

fn request(context: &Context, out: &Path, name: Option<String>) -> Result<(), Error> {
    refuse_account(context)?;
    refuse_existing(out, "--out")?;
    let name = name.unwrap_or_else(machine_name);
    check_name(&name)?;
    let keys_file = pending(context);
    // Asked twice, it is still the same machine.
    let keys = if keys_file.exists() {
        pending_keys(&keys_file)?
    } else {
        let keys = ClientKeys::generate(&mut rng());
        let bytes = [
            keys.signing.to_bytes().as_slice(),
            keys.reading.to_bytes().as_slice(),
        ]
        .concat();
        let text = Zeroizing::new(STANDARD.encode(Zeroizing::new(bytes)));
        file::private_folder(&context.home)?;
        file::replace(&keys_file, text.as_bytes(), Access::Private)?;
        keys
    };
    let request = ClientRequest {
        key: keys.signing.public(),
        reading: keys.reading.public(),
        name,
    };
    let bytes = request
        .sign(&keys.signing)
        .map_err(homing_owner::Error::Seal)?;
    let text = format!("{REQUEST}{}\n", STANDARD.encode(bytes));
    file::replace(out, text.as_bytes(), Access::Public)?;
    let (path, fingerprint) = (out.display().to_string(), request.fingerprint());
    context.out.both(
        &format!(
            "The request is in {path}; it holds nothing secret.\nFingerprint: {fingerprint}\nOn the owner's machine: homing client add {path}\nThen here, with its answer: homing client accept ANSWER"
        ),
        &json!({ "request": path, "client": request.client().to_string(), "fingerprint": fingerprint }),
    )
}

/// What `--can` names.
fn delegated(words: &str) -> Result<Capabilities, Error> {
    let known = || {
        Capability::ALL
            .iter()
            .filter(|(capability, _)| DELEGABLE.contains(capability))
    };
    let mut chosen = Vec::new();
    for word in words.split(',').map(str::trim) {
        let found = known().find(|(_, known)| *known == word);
        let Some((capability, _)) = found else {
            let words: Vec<_> = known().map(|(_, word)| *word).collect();
            return Err(Error::Usage(format!(
                "{:?} cannot be given to a delegate; --can takes some of: {}",
                harmless(word),
                words.join(",")
            )));
        };
        chosen.push(*capability);
    }
    Ok(Capabilities::of(&chosen))
}

fn add(
    context: &Context,
    path: &Path,
    can: Option<&str>,
    name: Option<String>,
    out: &Path,
) -> Result<(), Error> {
    let delegated = can.map(delegated).transpose()?;
    refuse_existing(out, "--out")?;
    let request = ClientRequest::verify(&armoured(path, REQUEST, "a client's request")?)
        .map_err(|_| unusable(path, "it was changed after the other machine signed it"))?;
    let name = name.unwrap_or_else(|| request.name.clone());
    check_name(&name)?;
    let store = Store::open(&context.home)?;
    context.out.progress(&format!(
        "{} asks with the fingerprint {}. Go on only if it shows the same.",
        harmless(&name),
        request.fingerprint()
    ));
    let mut store = meet(store)?;
    let mut account = unlock(context, &mut store)?;
    refuse_taken(&account, &request, &name)?;
    let common_name = match delegated {
        Some(_) => delegate_name(&account),
        None => common_name(&account),
    };
    let tls = household(&account)?.issue_client(&common_name)?;
    let held = store.account()?;
    let capabilities = delegated.unwrap_or_else(Capabilities::own);
    let candidate = Candidate {
        key: request.key,
        reading: request.reading,
        name: name.clone(),
        capabilities,
        tls_serial: tls.serial.0.to_vec(),
        phones: delegated.map(|_| joined(&account)),
        added_by: held.client.id(),
    };
    let blob = renewal::change(&mut store, &mut account, |store, account| {
        refuse_taken(account, &request, &name)?;
        let floors = floors(store, account)?;
        account.change_clients(&[], Some(&candidate), &floors)?;
        Ok(())
    })?;
    let identity = TlsIdentity {
        certificate_pem: &tls.certificate,
        key_pem: &tls.key,
    };
    let kit = held.kit.as_ref().filter(|_| delegated.is_none());
    let share = kit.map(|kit| (kit, blob.as_slice()));
    let answer = account.answer(&request, &identity, share, &mut rng())?;
    let text = format!("{ANSWER}{}\n", STANDARD.encode(answer));
    file::replace(out, text.as_bytes(), Access::Private)?;
    meet(store)?;
    report_added(context, &request, &name, capabilities, out)
}

/// The phones that have joined: those a delegate is given when it is added.
fn joined(account: &Unlocked) -> Vec<DeviceId> {
    let devices = account.find.devices.iter();
    devices
        .filter(|known| !known.certificate.is_empty())
        .map(|known| known.device)
        .collect()
}

fn refuse_taken(account: &Unlocked, request: &ClientRequest, name: &str) -> Result<(), Error> {
    if account.authority()?.entry(request.client()).is_some() {
        return Err(Error::Usage(
            "that machine is a client of the account already; `homing client revoke` it first to change what it may".into(),
        ));
    }
    if account.full.clients.iter().any(|known| known.name == name) {
        return Err(Error::Usage(format!(
            "another client is called {name:?} already; choose a name with --name"
        )));
    }
    Ok(())
}

fn report_added(
    context: &Context,
    request: &ClientRequest,
    name: &str,
    capabilities: Capabilities,
    out: &Path,
) -> Result<(), Error> {
    let (path, fingerprint) = (out.display().to_string(), request.fingerprint());
    let (can, reads) = (capabilities.words(), reads_word(Some(reads(capabilities))));
    context.out.both(
        &format!(
            "{} (fingerprint {fingerprint}) may: {}. It reads {reads}.\nThe answer is in {path}; only that machine can open it. There: homing client accept {path}",
            harmless(name),
            can.join(", ")
        ),
        &json!({ "client": request.client().to_string(), "name": name, "fingerprint": fingerprint, "can": can, "reads": reads, "answer": path }),
    )
}

fn accept(context: &Context, path: &Path) -> Result<(), Error> {
    refuse_account(context)?;
    let keys_file = pending(context);
    if !keys_file.exists() {
        return Err(Error::Usage(
            "this machine has not asked; begin with `homing client request`".into(),
        ));
    }
    let keys = pending_keys(&keys_file)?;
    let bytes = armoured(path, ANSWER, "an answer to a client's request")?;
    let answer =
        ClientAnswer::open(&bytes, &keys.signing.public(), &keys.reading).map_err(|_| {
            unusable(
                path,
                "it answers another machine's request, or it is damaged",
            )
        })?;
    let (_, entry) = own_entry(&answer.authority, &answer.root, answer.account, keys.id())?;
    let membership = Membership {
        account: answer.account,
        root: answer.root,
        broker: &answer.broker,
        ca_pem: &answer.ca_pem,
        authority: &answer.authority,
        devices: &answer.devices,
    };
    let newcomer = Newcomer {
        kit: answer.owners.as_ref().map(|owners| &owners.kit),
        client: &keys,
        tls_certificate: &answer.tls_certificate_pem,
        tls_key: &answer.tls_key_pem,
        session: SessionId::random(&mut rng()),
        // A revocation list made here must count as newer than any made before.
        crl_number: u64::try_from(UnixMs::now().0).unwrap_or(1),
    };
    let keyring = answer
        .owners
        .as_ref()
        .map_or(&[][..], |owners| owners.keyring.as_slice());
    let mut store = Store::create(&context.home)?;
    store.begin_account(&membership, keyring, &newcomer)?;
    // What came with the answer is at the broker already.
    store.keyring_published(keyring)?;
    // The state holds the keys now; a second copy would only be one more to lose.
    let _ = std::fs::remove_file(&keys_file);
    let phones: Vec<_> = store
        .devices()?
        .into_iter()
        .filter(|row| row.standing == Standing::Enrolled)
        .map(|row| row.name)
        .collect();
    let can = entry.capabilities.words();
    context.out.both(
        &format!(
            "This machine is a client of account {} and may: {}. Phones: {}",
            answer.account,
            can.join(", "),
            if phones.is_empty() { "none".to_owned() } else { harmless(&phones.join(", ")) }
        ),
        &json!({ "account": answer.account.to_string(), "client": keys.id().to_string(), "can": can, "devices": phones }),
    )
}

pub(super) const fn reads_word(reads: Option<Reads>) -> &'static str {
    match reads {
        Some(Reads::Positions) => "positions",
        Some(Reads::Status) => "status",
        None => "nothing",
    }
}

/// The client that a person means: by id, by the beginning of one, or by name.
fn meant(account: &Unlocked, text: &str) -> Result<ClientId, Error> {
    let machines = account.machines()?;
    let names = &account.full.clients;
    let wanted = text.to_ascii_lowercase();
    let fits = |id: &ClientId| {
        let named = names
            .iter()
            .any(|known| known.client == *id && known.name == text);
        named || (wanted.len() >= 4 && id.to_string().starts_with(&wanted))
    };
    let found: Vec<_> = machines.into_iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::Usage(format!(
            "no client is called {:?}; `homing clients` lists them",
            harmless(text)
        ))),
        _ => Err(Error::Usage(format!(
            "{:?} fits several clients; give the whole id",
            harmless(text)
        ))),
    }
}

/// `homing client grant`.
fn grant(context: &Context, text: &str, phone: &str) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let row = store.device_named(phone)?;
    let mut store = meet(store)?;
    let mut account = unlock(context, &mut store)?;
    let id = meant(&account, text)?;
    if !joined(&account).contains(&row.id) {
        return Err(Error::Usage(format!(
            "{} has not joined yet; give it to somebody once it has",
            harmless(&row.name)
        )));
    }
    renewal::change(&mut store, &mut account, |_, account| {
        Ok(account.give_phone(id, row.id)?)
    })?;
    let store = meet(store)?;
    let name = store.client_names()?.remove(&id);
    let shown = name.clone().unwrap_or_else(|| id.to_string());
    context.out.both(
        &format!(
            "{} has {} too and learns of it when it next meets the broker. To take a phone back from a delegate, revoke the delegate and add it anew.",
            harmless(&shown),
            harmless(&row.name)
        ),
        &json!({ "client": id.to_string(), "name": name, "device": row.id.to_string(), "phone": row.name }),
    )
}

/// Whom `revoke` means, and what they are called.
fn whom(
    store: &Store,
    account: &Unlocked,
    text: Option<&str>,
    all_others: bool,
) -> Result<(Vec<ClientId>, Option<String>), Error> {
    let own = store.account()?.client.id();
    let Some(text) = text.filter(|_| !all_others) else {
        let mut all = account.machines()?;
        all.retain(|id| *id != own);
        return Ok((all, Some("every other client".to_owned())));
    };
    let id = meant(account, text)?;
    if id == own {
        return Err(Error::Usage(
            "that is this machine; revoke it from another one".into(),
        ));
    }
    Ok((vec![id], store.client_names()?.remove(&id)))
}

fn revoke(context: &Context, text: Option<&str>, all_others: bool) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    let mut store = meet(store)?;
    let mut account = unlock(context, &mut store)?;
    let (ids, name) = whom(&store, &account, text, all_others)?;
    renewal::change(&mut store, &mut account, |store, account| {
        // Who is left alone brings nobody back, whatever another list says.
        let floors = if all_others {
            unseen(store, account)?.floors
        } else {
            floors(store, account)?
        };
        let serials = account.change_clients(&ids, None, &floors)?;
        revoke_certificates(store, account, &serials)
    })?;
    if all_others {
        store.forks_ended("this machine alone goes on; every other client was put out")?;
    }
    BrokerFiles::inside(store.home()).write_revocations(&account.full.crl_pem)?;
    let store = meet(store)?;
    let files = BrokerFiles::inside(store.home());
    let id = ids.first().map(ClientId::to_string).filter(|_| !all_others);
    let shown = name.clone().or_else(|| id.clone()).unwrap_or_default();
    context.out.both(
        &format!(
            "{} is put out: each phone ends its rights and seals nothing to it any more, once it has heard of it.\n{}",
            harmless(&shown),
            files.advice()
        ),
        &json!({ "client": id, "name": name, "revocation_list": files.revocation_list().display().to_string() }),
    )
}
