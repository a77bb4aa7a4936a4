//! `devices`, `device show`, `status`: what is known here, with where it comes from.
use super::table::Table;
use super::{Context, Housekeeping as _, glance};
use crate::clock::UnixMs;
use crate::duration::ago;
use crate::error::Error;
use crate::output::{Tone, harmless};
use crate::store::{Account, DeviceRow, Standing, Store};
use homing_owner::chain;
use homing_owner::phone::Heard;
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// How many of the changes made apart that came to an end are shown.
const FORKS_SHOWN: usize = 5;

/// One phone as `devices --json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    id: String,
    name: String,
    standing: &'static str,
    last_contact: Option<String>,
    next_planned_contact: Option<String>,
    battery_percent: Option<u8>,
    charging: Option<&'static str>,
    network: Option<&'static str>,
    metered: Option<&'static str>,
    mode: Option<&'static str>,
    fingerprint: String,
    queued_orders: usize,
    refused_messages: Option<u32>,
    alarms: Vec<String>,
}

/// A phone with what its newest beacon says.
pub(crate) struct Known {
    /// As stored.
    pub(crate) row: DeviceRow,
    /// Its newest beacon.
    pub(crate) heard: Option<Heard>,
}

impl Known {
    /// Reads the newest beacon of a phone; what no longer verifies is left out.
    pub(crate) fn read(store: &Store, account: &Account, row: DeviceRow) -> Result<Self, Error> {
        let phone = row.phone(account.id, &account.root)?;
        let stored = store.beacon(row.id)?;
        let heard = phone.zip(stored).and_then(|(phone, beacon)| {
            phone
                .hear_beacon(&beacon.bytes, &account.client.reading)
                .ok()
        });
        Ok(Self { row, heard })
    }

    /// When the phone said it will be heard of next: counted from the beacon that says so, not from what came after it.
    pub(crate) fn next_contact(&self) -> Option<UnixMs> {
        let (heard, made) = (self.heard.as_ref()?, self.row.beacon_made_at);
        // A state of the first version does not know when its newest beacon was made.
        let made = made.or(self.row.last_contact)?;
        Some(UnixMs(made.0.saturating_add(
            i64::from(heard.beacon.next_contact_s) * 1_000,
        )))
    }

    /// "last heard of 3 min ago, expected by 14:32", for people.
    pub(crate) fn contact_sentence(&self, now: UnixMs) -> String {
        let Some(last) = self.row.last_contact else {
            return "never heard of yet".to_owned();
        };
        let since = ago(age(last, now));
        match self.next_contact() {
            Some(next) if next > now => {
                format!("last heard of {since} ago, expected by {}", next.short(now))
            }
            Some(next) => format!(
                "last heard of {since} ago, overdue since {}",
                next.short(now)
            ),
            None => format!("last heard of {since} ago"),
        }
    }

    /// The phone follows an authority list that this machine has not seen. A delegate need not know it.
    fn newer_list(&self, account: &Account) -> Option<String> {
        let theirs = self.heard.as_ref()?.beacon.authority_version;
        (account.kit.is_some() && theirs > account.authority_version).then(|| {
            format!(
                "it follows authority list {theirs}, this machine knows {}: another machine changed the account, and the next command that asks for the passphrase takes that over",
                account.authority_version
            )
        })
    }

    fn summary(&self, store: &Store) -> Result<Summary, Error> {
        let status = self.heard.as_ref().and_then(|heard| heard.status.as_ref());
        let queued = store
            .outbox()?
            .iter()
            .filter(|order| order.device == self.row.id && !order.intent.op.is_housekeeping())
            .count();
        Ok(Summary {
            id: self.row.id.to_string(),
            name: self.row.name.clone(),
            standing: self.row.standing.word(),
            last_contact: self.row.last_contact.map(UnixMs::rfc3339),
            next_planned_contact: self.next_contact().map(UnixMs::rfc3339),
            battery_percent: status.and_then(|status| status.battery.percent),
            charging: status.map(|status| charging(status.battery)),
            network: status.map(|status| network(status.network)),
            metered: status.map(|status| metered(status.metered)),
            mode: status.map(|status| {
                if let Some(episode) = status.lost {
                    super::lost::mode_of(store, episode)
                } else if status.ring.is_some() {
                    "ringing"
                } else {
                    "normal"
                }
            }),
            fingerprint: self.row.fingerprint.clone(),
            queued_orders: queued,
            refused_messages: status.map(|status| status.refused),
            alarms: self.alarms(store)?,
        })
    }

    /// What somebody should look at.
    fn alarms(&self, store: &Store) -> Result<Vec<String>, Error> {
        use crate::store::NewsKind;
        let mut alarms: Vec<String> = store
            .alarms(self.row.id)?
            .iter()
            .map(|news| match news.kind {
                NewsKind::RivalClaim => format!(
                    "somebody else tried to join with the same bundle at {} (fingerprint {})",
                    news.at.rfc3339(),
                    news.detail
                ),
                NewsKind::Left => format!(
                    "its user took it out of the account (told at {}): it cannot be found any more. To end its certificate: homing device revoke {}",
                    news.at.rfc3339(),
                    harmless(&self.row.name),
                ),
                NewsKind::RolledBack => format!(
                    "the phone's state was set back to an older one (seen at {}; beacon {} was known). It is found and rings; the rest waits. If you restored it: homing resume {}. If not, somebody did: homing device add --again, or homing device revoke",
                    news.at.rfc3339(),
                    news.detail,
                    harmless(&self.row.name),
                ),
                _ => format!(
                    "the phone signed two different receipts number {}",
                    news.detail
                ),
            })
            .collect();
        let newest = self
            .heard
            .as_ref()
            .map(|heard| (heard.beacon.receipts, heard.beacon.receipt_chain));
        let findings = chain::examine(&store.chain(self.row.id)?, newest);
        for (first, last) in findings.missing_through(store.receipts_due(self.row.id)?) {
            let which = if first == last {
                format!("receipt {first} is")
            } else {
                format!("receipts {first} to {last} are")
            };
            alarms.push(format!(
                "{which} missing although the phone has been in touch since: withheld or lost on the way"
            ));
        }
        for number in findings.broken {
            alarms.push(format!(
                "receipt {number} does not follow from the one before it"
            ));
        }
        Ok(alarms)
    }
}

fn age(since: UnixMs, now: UnixMs) -> Duration {
    Duration::from_millis(u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0))
}

const fn charging(battery: Battery) -> &'static str {
    match battery.charging {
        Charging::Unknown => "unknown",
        Charging::Charging => "charging",
        Charging::Discharging => "discharging",
        Charging::Full => "full",
    }
}

const fn network(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Unknown => "unknown",
        NetworkKind::Wifi => "wifi",
        NetworkKind::Cellular => "cellular",
        NetworkKind::Ethernet => "ethernet",
        NetworkKind::Vpn => "vpn",
    }
}

const fn metered(metered: Metered) -> &'static str {
    match metered {
        Metered::Unknown => "unknown",
        Metered::Yes => "yes",
        Metered::No => "no",
    }
}

/// `homing devices`.
pub(crate) fn devices(context: &Context) -> Result<(), Error> {
    let store = glance(context, Store::open(&context.home)?)?;
    let account = store.account()?;
    let rows = store.devices()?;
    if rows.is_empty() {
        return context
            .out
            .text("No phone yet; add one with: homing device add NAME --out BUNDLE --wait");
    }
    let mut table = Table::new([
        "NAME",
        "LAST CONTACT",
        "NEXT CONTACT",
        "BATTERY",
        "NETWORK",
        "MODE",
    ]);
    let mut notes = Vec::new();
    for row in rows {
        let known = Known::read(&store, &account, row)?;
        let summary = known.summary(&store)?;
        context.out.json(&summary)?;
        table.row(cells(&known, &summary, UnixMs::now()));
        notes.extend(remarks(context, &known, &summary));
    }
    for line in table.lines().into_iter().chain(notes) {
        context.out.text(&line)?;
    }
    Ok(())
}

/// One phone's row.
fn cells(known: &Known, summary: &Summary, now: UnixMs) -> [String; 6] {
    let is_in = known.row.standing == Standing::Enrolled;
    let last = known.row.last_contact.filter(|_| is_in);
    let next = known.next_contact().filter(|_| is_in);
    let battery = summary.battery_percent.map(|percent| {
        let charging = summary
            .charging
            .filter(|word| ["charging", "full"].contains(word));
        charging.map_or_else(
            || format!("{percent} %"),
            |word| format!("{percent} %, {word}"),
        )
    });
    let network = summary.network.map(|network| {
        let metered = (summary.metered == Some("yes")).then_some(", metered");
        format!("{network}{}", metered.unwrap_or_default())
    });
    let mode = if is_in {
        summary.mode.unwrap_or_default()
    } else {
        summary.standing
    };
    [
        harmless(&summary.name),
        last.map_or_else(
            || if is_in { "never" } else { "" }.to_owned(),
            |last| format!("{} ago", ago(age(last, now))),
        ),
        next.map_or_else(String::new, |next| {
            if next > now {
                format!("by {}", next.short(now))
            } else {
                format!("overdue since {}", next.short(now))
            }
        }),
        battery.filter(|_| is_in).unwrap_or_default(),
        network.filter(|_| is_in).unwrap_or_default(),
        mode.to_owned(),
    ]
}

/// What does not fit into a column, a line each.
fn remarks(context: &Context, known: &Known, summary: &Summary) -> Vec<String> {
    let name = harmless(&summary.name);
    let mut remarks = Vec::new();
    if known.row.standing == Standing::Claimed {
        remarks.push(format!(
            "{name} wants to join, fingerprint {}: homing device accept {name}",
            summary.fingerprint
        ));
    }
    if summary.queued_orders > 0 {
        remarks.push(format!(
            "{name}: {} under way",
            orders(summary.queued_orders)
        ));
    }
    if !summary.alarms.is_empty() {
        let alarms = match summary.alarms.len() {
            1 => "1 alarm".to_owned(),
            more => format!("{more} alarms"),
        };
        remarks.push(context.out.toned(
            Tone::Warning,
            &format!("{name}: {alarms}: homing device show {name}"),
        ));
    }
    remarks
}

/// So many orders, in words.
fn orders(number: usize) -> String {
    match number {
        1 => "1 order".to_owned(),
        more => format!("{more} orders"),
    }
}

/// `homing device show NAME`.
pub(crate) fn device(context: &Context, name: &str) -> Result<(), Error> {
    let store = Store::open(&context.home)?;
    store.device_named(name)?;
    let store = glance(context, store)?;
    let known = Known::read(&store, &store.account()?, store.device_named(name)?)?;
    let summary = known.summary(&store)?;
    context.out.json(&summary)?;
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    for (label, value) in
        [
            ("name", harmless(&summary.name)),
            ("id", summary.id.clone()),
            ("standing", summary.standing.to_owned()),
            ("fingerprint", summary.fingerprint.clone()),
            ("added", known.row.added_at.dated()),
            ("contact", known.contact_sentence(UnixMs::now())),
            (
                "battery",
                text(summary.battery_percent.map(|percent| {
                    format!("{percent} %, {}", summary.charging.unwrap_or("unknown"))
                })),
            ),
            (
                "network",
                text(summary.network.map(|kind| {
                    format!("{kind}, metered: {}", summary.metered.unwrap_or("unknown"))
                })),
            ),
            ("mode", text(summary.mode.map(str::to_owned))),
            (
                "refused",
                text(
                    summary
                        .refused_messages
                        .map(|number| format!("{number} messages since the phone's agent started")),
                ),
            ),
            ("under way", orders(summary.queued_orders)),
        ]
    {
        context.out.text(&format!("{label:<12} {value}"))?;
    }
    for alarm in &summary.alarms {
        context.out.text(&format!(
            "{:<12} {}",
            "ALARM",
            context.out.toned(Tone::Warning, alarm)
        ))?;
    }
    Ok(())
}

/// What is open of changes that two machines made apart, as alarms; the other machine's is not here yet, or nobody has unlocked the account since.
fn open_forks(store: &Store) -> Result<Vec<String>, Error> {
    let forks = store.forks()?.into_iter();
    Ok(forks
        .filter(|fork| fork.ended_at.is_none())
        .map(|fork| {
            format!(
                "{} (seen at {}): the next command that asks for the passphrase makes one of both, once the broker has shown the other machine's",
                fork.what,
                fork.seen_at.rfc3339()
            )
        })
        .collect())
}

/// What came to an end of changes that two machines made apart, the newest first, a line each.
pub(crate) fn ended_forks(store: &Store) -> Result<Vec<String>, Error> {
    let forks = store.forks()?.into_iter();
    Ok(forks
        .filter_map(|fork| {
            let ended = fork.ended_at?;
            Some(format!(
                "{} (seen {}): {} ({})",
                fork.what,
                fork.seen_at.dated(),
                fork.outcome,
                ended.dated()
            ))
        })
        .take(FORKS_SHOWN)
        .collect())
}

/// The same and what is open, for `--json`.
pub(crate) fn forks_json(store: &Store) -> Result<Vec<serde_json::Value>, Error> {
    let forks = store.forks()?.into_iter();
    Ok(forks
        .map(|fork| {
            json!({
                "seen_at": fork.seen_at.rfc3339(),
                "what": fork.what,
                "ended_at": fork.ended_at.map(UnixMs::rfc3339),
                "outcome": fork.outcome,
            })
        })
        .collect())
}

/// `homing status`.
pub(crate) fn status(context: &Context) -> Result<(), Error> {
    let store = glance(context, Store::open(&context.home)?)?;
    let account = store.account()?;
    let rows = store.devices()?;
    let enrolled = rows
        .iter()
        .filter(|row| row.standing == Standing::Enrolled)
        .count();
    let mut alarms = open_forks(&store)?;
    for row in rows {
        let name = row.name.clone();
        let known = Known::read(&store, &account, row)?;
        alarms.extend(
            known
                .newer_list(&account)
                .map(|alarm| format!("{name}: {alarm}")),
        );
        alarms.extend(
            known
                .alarms(&store)?
                .into_iter()
                .map(|alarm| format!("{name}: {alarm}")),
        );
    }
    let queued = store.outbox()?.len();
    let published = store.unpublished_keyring()?.is_none();
    context.out.json(&json!({
        "account": account.id.to_string(),
        "client": account.client.id().to_string(),
        "broker": account.broker,
        "authority_version": account.authority_version,
        "devices": enrolled,
        "queued_orders": queued,
        "keyring_published": published,
        "forks": forks_json(&store)?,
        "alarms": alarms,
    }))?;
    for (label, value) in [
        ("account", account.id.to_string()),
        ("client", account.client.id().to_string()),
        ("broker", account.broker.clone()),
        ("phones", enrolled.to_string()),
        ("under way", orders(queued)),
        (
            "keyring",
            if published {
                "the broker has the newest"
            } else {
                "not yet at the broker"
            }
            .to_owned(),
        ),
    ] {
        context.out.text(&format!("{label:<12} {value}"))?;
    }
    print_findings(context, &store, &alarms)
}

/// What came to an end of changes made apart, and what somebody should look at.
fn print_findings(context: &Context, store: &Store, alarms: &[String]) -> Result<(), Error> {
    for ended in ended_forks(store)? {
        context
            .out
            .text(&format!("{:<12} {}", "apart", harmless(&ended)))?;
    }
    for alarm in alarms {
        context.out.text(&format!(
            "{:<12} {}",
            "ALARM",
            context.out.toned(Tone::Warning, &harmless(alarm))
        ))?;
    }
    Ok(())
}
