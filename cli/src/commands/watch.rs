//! `watch`: stays connected, delivers every queued order, stores what phones report, prints what happens. Ends with a signal; nothing is lost by that.
use super::device::tell_trouble;
use super::{Context, account, waiting};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::exchange::{Acceptance, Exchange, Stay};
use crate::file;
use crate::output::harmless;
use crate::passphrase::Source;
use crate::store::{News, NewsKind, Store};
use homing_link::MqttLink;
use homing_protocol::id::{CommandId, DeviceId};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

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
    fn of(store: &Store, news: News) -> Result<Self, Error> {
        let name = store
            .device(news.device)?
            .map(|row| row.name)
            .unwrap_or_default();
        // An order of another client is known by its receipts only.
        let op = news
            .command
            .and_then(|id| store.order(id).ok())
            .map(|order| order.intent.op.word());
        Ok(Self {
            at: news.at.rfc3339(),
            kind: news.kind.word(),
            device: news.device,
            name,
            command: news.command,
            op,
            detail: news.detail,
        })
    }

    fn text(&self, at: UnixMs) -> String {
        let (name, detail) = (harmless(&self.name), harmless(&self.detail));
        let what = match self.kind {
            word if word == NewsKind::State.word() => {
                format!("{}: {detail}", self.op.unwrap_or("order"))
            }
            word if word == NewsKind::Beacon.word() => "showed itself".to_owned(),
            word if word == NewsKind::Position.word() => format!("position {detail} stored"),
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
                    "ALARM: it counts from below again although beacon {detail} was known; its state was set back"
                )
            }
            word => word.to_owned(),
        };
        format!("{}  {name}  {what}", at.short(at))
    }
}

/// `homing watch`.
pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let mut store = Store::open(&context.home)?;
    // Two of them would take the broker's session from each other for ever.
    let Some(_only) = file::lock(&context.home.join("watch.lock"))? else {
        return Err(Error::Usage(
            "`homing watch` runs already for this account on this machine".into(),
        ));
    };
    // With the passphrase at hand, phones that claim their bundle are signed at once.
    let acceptance = match context.passphrase {
        Source::Prompt => Acceptance::Locked,
        Source::Descriptor(_) => Acceptance::All(Box::new(account::unlock(context, &mut store)?)),
    };
    let from = store.newest_news()?;
    let exchange = |store| Exchange::start(store, Stay::Resident, acceptance);
    resident(context, store, from, exchange, |_| true)
}

/// Connects like any other call and prints news for ever, those that `wanted` lets through.
pub(crate) fn follow_news(
    context: &Context,
    store: Store,
    from: i64,
    wanted: impl Fn(&Line) -> bool,
) -> Result<(), Error> {
    resident(
        context,
        store,
        from,
        |store| Exchange::start(store, Stay::Call, Acceptance::Locked),
        wanted,
    )
}

fn resident(
    context: &Context,
    store: Store,
    from: i64,
    start: impl FnOnce(Store) -> Result<Exchange<MqttLink>, Error>,
    wanted: impl Fn(&Line) -> bool,
) -> Result<(), Error> {
    waiting(async {
        let mut exchange = start(store)?;
        let (mut from, mut told, mut connected) = (from, None, false);
        loop {
            exchange
                .turn(Instant::now() + Duration::from_secs(60))
                .await?;
            tell_trouble(context, &mut exchange, &mut told);
            if exchange.is_connected() != connected {
                connected = exchange.is_connected();
                if connected {
                    context
                        .out
                        .progress(&format!("connected to {}", exchange.account().broker));
                }
            }
            for news in exchange.store.news_after(from)? {
                from = news.id;
                let at = news.at;
                let line = Line::of(&exchange.store, news)?;
                if wanted(&line) {
                    context.out.both(&line.text(at), &line)?;
                }
            }
        }
    })
}
