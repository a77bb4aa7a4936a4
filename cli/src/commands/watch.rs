//! `watch`: one resident client for each account, and what happens in its words. How it stays is `resident`'s, how it is installed `unit`'s.
use super::resident::{self, Resident};
use super::{Context, Housekeeping as _, account, unit};
use crate::args;
use crate::clock::UnixMs;
use crate::error::Error;
use crate::exchange::{Acceptance, Stay};
use crate::file;
use crate::output::harmless;
use crate::passphrase::Source;
use crate::store::{News, NewsKind, Store};
use homing_protocol::command::Op;
use homing_protocol::id::{CommandId, DeviceId};
use serde::Serialize;

/// One thing that happened, ready to print.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    at: String,
    kind: &'static str,
    #[serde(serialize_with = "as_text")]
    pub(crate) device: DeviceId,
    name: String,
    #[serde(serialize_with = "as_optional_text")]
    pub(crate) command: Option<CommandId>,
    op: Option<&'static str>,
    detail: String,
    #[serde(skip)]
    housekeeping: bool,
}

fn as_text<S: serde::Serializer>(id: &DeviceId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_optional_text<S: serde::Serializer>(
    id: &Option<CommandId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

impl Line {
    /// Reads what belongs to it.
    pub(crate) fn of(store: &Store, news: News) -> Result<Self, Error> {
        let name = store
            .device(news.device)?
            .map(|row| row.name)
            .unwrap_or_default();
        // An order of another client is known by its receipts only.
        let op = news
            .command
            .and_then(|id| store.order(id).ok())
            .map(|order| order.intent.op);
        Ok(Self {
            housekeeping: op.as_ref().is_some_and(Op::is_housekeeping),
            at: news.at.rfc3339(),
            kind: news.kind.word(),
            device: news.device,
            name,
            command: news.command,
            op: op.map(|op| op.word()),
            detail: news.detail,
        })
    }

    /// Whether it is about an order that no person gave.
    pub(crate) const fn is_housekeeping(&self) -> bool {
        self.housekeeping
    }

    /// For people.
    pub(crate) fn text(&self, at: UnixMs) -> String {
        let (name, detail) = (harmless(&self.name), harmless(&self.detail));
        let what = match self.kind {
            word if word == NewsKind::State.word() => {
                format!("{}: {detail}", self.op.unwrap_or("order"))
            }
            word if word == NewsKind::Beacon.word() => "showed itself".to_owned(),
            word if word == NewsKind::Position.word() => {
                let several = if detail.contains('-') { "s" } else { "" };
                format!("position{several} {detail} stored")
            }
            word if word == NewsKind::Claim.word() => {
                format!("wants to join, fingerprint {detail}")
            }
            word if word == NewsKind::RivalClaim.word() => {
                format!("ALARM: somebody else used a copy of its bundle, fingerprint {detail}")
            }
            word if word == NewsKind::BrokenChain.word() => {
                format!("ALARM: two different receipts number {detail}")
            }
            word if word == NewsKind::RolledBack.word() => {
                format!(
                    "ALARM: its state was set back to an older one although beacon {detail} was known. It is found and rings; the rest waits for: homing resume {name}"
                )
            }
            word if word == NewsKind::Resumed.word() => {
                "counts on after its state was set back".to_owned()
            }
            word if word == NewsKind::InvitedAgain.word() => {
                format!("is invited once more, enrolment {detail}; what was before is dead")
            }
            word if word == NewsKind::Left.word() => {
                "ALARM: its user took it out of the account; it cannot be found any more".to_owned()
            }
            word => word.to_owned(),
        };
        format!("{}  {name}  {what}", at.short(at))
    }
}

/// `homing watch`.
pub(crate) fn run(context: &Context, args: &args::Watch) -> Result<(), Error> {
    if args.install {
        return unit::install(context);
    }
    if args.uninstall {
        return unit::uninstall(context);
    }
    if args.status {
        return unit::status(context);
    }
    let mut store = Store::open(&context.home)?;
    // Two of them would take the broker's session from each other for ever.
    let Some(_only) = file::lock(&resident::lock_path(&context.home))? else {
        return Err(Error::WatchRuns(resident::Report::read(&context.home)));
    };
    // With the passphrase at hand, phones that claim their bundle are signed at once.
    let acceptance = match context.passphrase {
        Source::Prompt => Acceptance::Locked,
        // A delegate has nothing that a passphrase opens.
        Source::Descriptor(_) if store.account()?.kit.is_none() => Acceptance::Locked,
        Source::Descriptor(_) => Acceptance::All(Box::new(account::unlock(context, &mut store)?)),
    };
    let from = store.newest_news()?;
    Resident::new(context, Stay::Resident, from).stay(store, acceptance, |_| true)
}

/// Connects like any other call and prints news for ever, those that `wanted` lets through.
pub(crate) fn follow_news(
    context: &Context,
    store: Store,
    from: i64,
    wanted: impl Fn(&Line) -> bool,
) -> Result<(), Error> {
    Resident::new(context, Stay::Call, from).stay(store, Acceptance::Locked, wanted)
}
