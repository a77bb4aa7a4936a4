//! `init` and `recover`: how an account comes to this machine.
use super::{Context, catch_up, kit::KitFile, waiting};
use crate::args::{Init, Recover};
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay, rng};
use crate::file;
use crate::household::{Authority, BrokerFiles, ServerCertificate, revoked_serials};
use crate::output::harmless;
use crate::passphrase::{self, Source};
use crate::reconcile::{reconcile, unseen};
use crate::renewal::{self, RevocationList, household, revoke_certificates};
use crate::store::{Newcomer, Store};
use homing_link::Endpoint;
use homing_owner::account::{ClientKeys, Household, Kit, Unlocked, typed_code};
use homing_owner::clients::Candidate;
use homing_protocol::authority::Capabilities;
use homing_protocol::id::SessionId;
use homing_protocol::keyring::{KitSecret, PassphraseCost, RecoveryCode};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// How long `recover` looks for the newest keyring, and then for everybody to learn of the new client.
const RECOVERY_WAIT: Duration = Duration::from_secs(20);

/// The broker's user name of every owner client of an account: the list of who may use the tree then outlives a lost machine.
pub(crate) fn common_name(account: &Unlocked) -> String {
    format!("owner-{}", account.find.account)
}

/// The same of every delegate, who may use only a part of the tree.
pub(crate) fn delegate_name(account: &Unlocked) -> String {
    format!("delegate-{}", account.find.account)
}

/// What this machine calls itself among the clients: its host name, as far as it is fit to be shown.
pub(crate) fn machine_name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = text
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-._".contains(*letter))
        .take(60)
        .collect();
    if name.is_empty() {
        "machine".to_owned()
    } else {
        name
    }
}

/// `homing init`.
pub(crate) fn init(context: &Context, args: &Init) -> Result<(), Error> {
    let endpoint: Endpoint = args
        .broker
        .parse()
        .map_err(|error: homing_link::Error| Error::Usage(error.to_string()))?;
    refuse_account(context)?;
    refuse_existing(&args.kit_out, "--kit-out")?;
    let other_ca = args.ca.as_deref().map(read_ca).transpose()?;
    let passphrase = passphrase::choose(context.passphrase)?;

    let authority = Authority::generate(&endpoint.host)?;
    let ca = format!(
        "{}{}",
        authority.certificate(),
        other_ca.as_deref().unwrap_or("")
    );
    let crl = authority.revocation_list(1, &[])?;
    let client = ClientKeys::generate(&mut rng());
    let kit = Kit {
        secret: KitSecret::generate(&mut rng()),
        code: RecoveryCode::generate(&mut rng()),
    };
    let broker = endpoint.to_string();
    let household = Household {
        broker: &broker,
        ca_pem: &ca,
        ca_key_pem: &authority.key(),
        crl_pem: &crl,
    };
    context.out.progress("Stretching the passphrase …");
    let mut account = Unlocked::create(
        &household,
        &passphrase,
        &kit,
        PassphraseCost::DEFAULT,
        &client,
        &mut rng(),
    )?;
    let tls = authority.issue_client(&common_name(&account))?;
    account.record_first_client(&client, &machine_name(), &tls.serial.0);
    let blob = account.wrap_next(&mut rng())?;

    KitFile::of(&account, &kit.secret, &blob).write(&args.kit_out)?;
    let mut store = Store::create(&context.home)?;
    let files = write_broker_folder(&context.home, &authority, &account, 1)?;
    let newcomer = Newcomer {
        kit: Some(&kit.secret),
        client: &client,
        tls_certificate: &tls.certificate,
        tls_key: &tls.key,
        session: SessionId::random(&mut rng()),
        crl_number: 1,
    };
    store.begin_account(&(&account).into(), &blob, &newcomer)?;
    report_init(context, args, &account, &kit, &files, &broker)
}

fn report_init(
    context: &Context,
    args: &Init,
    account: &Unlocked,
    kit: &Kit,
    files: &BrokerFiles,
    broker: &str,
) -> Result<(), Error> {
    let (secret_text, code_text) = (kit.secret.to_text(), kit.code.to_text());
    let (secret, code) = (secret_text.as_str(), code_text.as_str());
    let (folder, kit_file) = (
        files.folder().display().to_string(),
        args.kit_out.display().to_string(),
    );
    let server_certificate = if args.ca.is_some() {
        "\n(the broker keeps its own broker.crt and broker.key)"
    } else {
        ""
    };
    context.out.text(&format!(
        "Account {account_id} is ready in {home}.

RECOVERY KIT: write this down or print it now; the code is not shown again.
  account        {account_id}
  broker         {broker}
  kit secret     {secret}
  recovery code  {code}

The kit file {kit_file} holds the same without the code: copy it off this machine.
Getting the account back takes that file and your passphrase, or that file and the code.

The broker's configuration and certificates are in {folder}{server_certificate}
  start it with    mosquitto -c {folder}/mosquitto.conf
  add a phone with homing device add NAME --out BUNDLE --wait",
        account_id = account.find.account,
        home = context.home.display(),
    ))?;
    context.out.json(&json!({
        "account": account.find.account.to_string(),
        "home": context.home.display().to_string(),
        "broker": broker,
        "broker_folder": folder,
        "kit_file": kit_file,
        "kit_secret": secret,
        "recovery_code": code,
    }))
}

/// Writes `broker/`; the broker's certificate comes from the household unless the account trusts another authority besides it.
fn write_broker_folder(
    home: &Path,
    authority: &Authority,
    account: &Unlocked,
    crl_number: u64,
) -> Result<BrokerFiles, Error> {
    let endpoint: Endpoint = account.find.broker.parse()?;
    let files = BrokerFiles::inside(home);
    let server = if account.find.ca_pem.matches("BEGIN CERTIFICATE").count() > 1 {
        ServerCertificate::Elsewhere
    } else {
        ServerCertificate::Household {
            host: &endpoint.host,
        }
    };
    let revoked = revoked_serials(&account.full.crl_pem)?;
    let crl = authority.revocation_list(crl_number, &revoked)?;
    files.write(
        authority,
        server,
        endpoint.port,
        &account.find.account.to_string(),
        &crl,
    )?;
    Ok(files)
}

/// Refuses a folder that holds an account. What an interrupted `recover` left there is none: it goes, and that is said.
pub(crate) fn refuse_account(context: &Context) -> Result<(), Error> {
    let home = &context.home;
    match Store::open(home).and_then(|store| store.account()) {
        Ok(_) => Err(Error::AccountExists(home.to_owned())),
        Err(Error::NoAccount(_)) => Ok(()),
        Err(Error::HalfRecovered(_)) => {
            let Some(_only) = recovery_lock(home)? else {
                return Err(Error::Usage(
                    "`homing recover` is at work in this folder".into(),
                ));
            };
            context.out.warn("an earlier `homing recover` was interrupted before this machine was admitted; what it left is removed");
            remove_state(home);
            Ok(())
        }
        Err(other) => Err(other),
    }
}

fn recovery_lock(home: &Path) -> Result<Option<std::fs::File>, Error> {
    file::lock(&home.join("recover.lock"))
}

/// Refuses to write over a file: it may be somebody's only kit or bundle.
pub(crate) fn refuse_existing(path: &Path, flag: &str) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::Usage(format!(
            "{} exists already; choose another file with {flag} or move it away",
            path.display()
        )));
    }
    Ok(())
}

fn read_ca(path: &Path) -> Result<String, Error> {
    let text = file::read_text(path)?;
    match x509_parser::pem::parse_x509_pem(text.as_bytes()) {
        Ok((_, pem)) if pem.label == "CERTIFICATE" && pem.parse_x509().is_ok() => Ok(text),
        _ => Err(Error::File {
            path: path.to_owned(),
            reason: "it holds no PEM certificate".into(),
        }),
    }
}

/// `homing recover`.
pub(crate) fn recover(context: &Context, args: &Recover) -> Result<(), Error> {
    refuse_account(context)?;
    let kit = KitFile::read(&args.kit)?;
    let secret = kit.secret(&args.kit)?;
    let way_in = WayIn::ask(context, args)?;
    context.out.progress("Opening the keyring …");
    let account = way_in.open(&kit.keyring(&args.kit)?, &secret)?;

    let authority = household(&account)?;
    let client = ClientKeys::generate(&mut rng());
    let tls = authority.issue_client(&common_name(&account))?;
    // A list made here must count as newer than any made before; the old machine's count is lost with it.
    let crl_number = u64::try_from(crate::clock::UnixMs::now().0).unwrap_or(1);
    let candidate = this_machine(&client, tls.serial.0.to_vec());
    file::private_folder(&context.home)?;
    let Some(_only) = recovery_lock(&context.home)? else {
        return Err(Error::Usage(
            "`homing recover` is at work in this folder".into(),
        ));
    };
    let mut store = Store::create(&context.home)?;
    store.begin_recovery()?;
    let blob = kit.keyring(&args.kit)?;
    let newcomer = Newcomer {
        kit: Some(&secret),
        client: &client,
        tls_certificate: &tls.certificate,
        tls_key: &tls.key,
        session: SessionId::random(&mut rng()),
        crl_number,
    };
    store.begin_account(&(&account).into(), &blob, &newcomer)?;
    let admitted = waiting(admit(context, args, store, account, &candidate));
    if let Err(error) = admitted {
        // Half an account would only stand in the way of the next attempt.
        remove_state(&context.home);
        return Err(error);
    }
    let account = admitted?;
    write_broker_folder(
        &context.home,
        &household(&account)?,
        &account,
        crl_number + 1,
    )?;
    let devices: Vec<_> = account
        .find
        .devices
        .iter()
        .map(|device| device.name.clone())
        .collect();
    context.out.both(
        &format!("Account {} is back in {}. Phones: {}", account.find.account, context.home.display(), if devices.is_empty() { "none".into() } else { devices.join(", ") }),
        &json!({ "account": account.find.account.to_string(), "home": context.home.display().to_string(), "client": client.id().to_string(), "devices": devices }),
    )
}

/// This machine as one of the owner's own, which it adds itself.
fn this_machine(client: &ClientKeys, tls_serial: Vec<u8>) -> Candidate {
    Candidate {
        key: client.signing.public(),
        reading: client.reading.public(),
        name: machine_name(),
        capabilities: Capabilities::own(),
        tls_serial,
        phones: None,
        added_by: client.id(),
    }
}

/// Fetches the newest keyring, adds this client to it, and tells broker and phones.
async fn admit(
    context: &Context,
    args: &Recover,
    store: Store,
    mut account: Unlocked,
    client: &Candidate,
) -> Result<Unlocked, Error> {
    let mut store = store;
    if !args.offline {
        context
            .out
            .progress("Fetching the newest keyring from the broker …");
        // The copy in the kit must not be published over a newer one before that was seen.
        store.keyring_published(&store.account()?.keyring)?;
        let mut exchange = Exchange::start(store, Stay::Call, Acceptance::Locked)?;
        catch_up(&mut exchange, RECOVERY_WAIT).await?;
        if !exchange.is_connected() {
            let why = exchange.trouble().unwrap_or("no answer").to_owned();
            return Err(Error::Broker(format!(
                "the broker at {} cannot be reached: {why}; if it is gone for good, use --offline",
                account.find.broker
            )));
        }
        exchange.close().await?;
        store = exchange.into_unlocked().0;
        reconcile(&mut store, &mut account)?;
    }
    let unseen = unseen(&store, &account)?;
    if let Some((phone, theirs)) = unseen.list.as_ref().filter(|_| !args.revoke_others) {
        context.out.warn(&format!(
            "{} follows authority list {theirs}, which neither the kit nor the broker has: whom it put out must not come back, so every other client loses its rights; add them again with homing client add",
            harmless(phone)
        ));
    }
    let lost = if args.revoke_others || unseen.list.is_some() {
        account.machines()?
    } else {
        Vec::new()
    };
    renewal::change(&mut store, &mut account, |store, account| {
        let serials = account.change_clients(&lost, Some(client), &unseen.floors)?;
        revoke_certificates(store, account, &serials)
    })?;
    // From here every call that meets the broker completes what is left.
    store.admitted()?;
    if !args.offline {
        let mut exchange = Exchange::start(store, Stay::Call, Acceptance::Locked)?;
        catch_up(&mut exchange, RECOVERY_WAIT).await?;
        exchange.close().await?;
    }
    Ok(account)
}

fn remove_state(home: &Path) {
    for name in ["homing.db", "homing.db-wal", "homing.db-shm"] {
        // What cannot be removed is named by the next attempt.
        let _ = std::fs::remove_file(home.join(name));
    }
}

/// What a person comes with.
enum WayIn {
    Passphrase(zeroize::Zeroizing<String>),
    Code(RecoveryCode),
}

impl WayIn {
    fn ask(context: &Context, args: &Recover) -> Result<Self, Error> {
        if args.code || args.code_fd.is_some() {
            let typed = passphrase::ask(Source::from(args.code_fd), "Recovery code")?;
            return Ok(Self::Code(typed_code(&typed)?));
        }
        Ok(Self::Passphrase(passphrase::ask(
            context.passphrase,
            "Passphrase",
        )?))
    }
    fn open(&self, blob: &[u8], secret: &KitSecret) -> Result<Unlocked, Error> {
        Ok(match self {
            Self::Passphrase(passphrase) => Unlocked::open(blob, passphrase, secret)?,
            Self::Code(code) => Unlocked::open_with_code(blob, code)?,
        })
    }
}

/// Unlocks the account for what needs ROOT or the household's key; a newer keyring that another machine left at the broker is taken over first.
pub(crate) fn unlock(context: &Context, store: &mut Store) -> Result<Unlocked, Error> {
    let held = store.account()?;
    let Some(kit) = &held.kit else {
        return Err(Error::Delegate);
    };
    let passphrase = passphrase::ask(context.passphrase, "Passphrase")?;
    context.out.progress("Opening the keyring …");
    let mut account = Unlocked::open(&held.keyring, &passphrase, kit)?;
    if let Some(outcome) = reconcile(store, &mut account)? {
        context.out.warn(&format!(
            "another machine changed the account while this one did: {outcome}"
        ));
    }
    let list = renewal::take_in(store, &mut account)?;
    if list == RevocationList::Longer || store.is_keyring_stale()? {
        renewal::change(store, &mut account, |_, _| Ok(()))?;
        BrokerFiles::inside(store.home()).write_revocations(&account.full.crl_pem)?;
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, Output};
    use crate::pretend;

    #[test]
    fn an_interrupted_recovery_leaves_no_account_and_can_be_repeated() {
        let house = pretend::household();
        let context = Context {
            home: house.home.path().to_owned(),
            out: Output::new(Format::Text),
            passphrase: Source::Prompt,
        };
        assert!(matches!(
            refuse_account(&context),
            Err(Error::AccountExists(_))
        ));
        house.store().begin_recovery().expect("marked");
        assert!(matches!(
            Store::open(&context.home),
            Err(Error::HalfRecovered(_))
        ));
        let running = recovery_lock(&context.home).expect("asked").expect("free");
        assert!(matches!(refuse_account(&context), Err(Error::Usage(_))));
        drop(running);
        refuse_account(&context).expect("removed");
        assert!(matches!(
            Store::open(&context.home),
            Err(Error::NoAccount(_))
        ));
    }
}
