//! The link against a real mosquitto with the shipped configuration, and against brokers that misbehave on purpose.

#![forbid(unsafe_code)]

mod access;
mod chaos;
mod clocks;
mod codes;
mod config;
mod forged;
mod household;
mod misbehaviour;
mod mosquitto;
mod names;
#[expect(
    unreachable_pub,
    reason = "it is public where it lives, in the harness"
)]
#[path = "../../../tests/harness/port.rs"]
mod port;
mod proxy;
mod session;
mod weather;

use std::{net::SocketAddr, time::Duration};

use homing_link::{
    Backoff, Credentials, Endpoint, LinkEvent, LinkSettings, MqttLink, Publication, Retention,
    Transport,
};

use household::Identity;

/// How long any single condition may take on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test on the kind of runtime that the programs use.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test)
}

/// Settings for a client at `address`, with a short back-off so that tests do not wait.
fn settings(address: SocketAddr, ca_pem: &str, identity: &Identity) -> LinkSettings {
    let endpoint: Endpoint = format!("mqtts://{address}").parse().expect("an address");
    let credentials = Credentials {
        ca_pem: ca_pem.to_owned(),
        certificate_pem: identity.certificate_pem.clone(),
        key_pem: identity.key_pem.clone().into(),
    };
    let mut settings = LinkSettings::new(endpoint, credentials, identity.name.clone());
    settings.backoff = Backoff {
        first: Duration::from_millis(50),
        ceiling: Duration::from_millis(200),
    };
    settings
}

/// Reads events until `wanted` takes one; the others are shown when none comes in time.
async fn wait_for<T>(
    link: &mut MqttLink,
    what: &str,
    mut wanted: impl FnMut(LinkEvent) -> Result<T, LinkEvent>,
) -> T {
    let mut others = Vec::new();
    let search = async {
        loop {
            match wanted(link.next().await) {
                Ok(found) => return found,
                Err(other) => others.push(other),
            }
        }
    };
    match tokio::time::timeout(DEADLINE, search).await {
        Ok(found) => found,
        Err(_) => panic!("no {what} within {DEADLINE:?}, only {others:?}"),
    }
}

async fn connected(link: &mut MqttLink) -> homing_link::SessionPresence {
    wait_for(link, "Connected", |event| match event {
        LinkEvent::Connected { session_present } => Ok(session_present),
        other => Err(other),
    })
    .await
}

async fn disconnected(link: &mut MqttLink) -> (homing_link::Disconnect, Duration) {
    wait_for(link, "Disconnected", |event| match event {
        LinkEvent::Disconnected { reason, retry_in } => Ok((reason, retry_in)),
        other => Err(other),
    })
    .await
}

async fn message(link: &mut MqttLink) -> homing_link::Delivery {
    wait_for(link, "message", |event| match event {
        LinkEvent::Message(delivery) => Ok(delivery),
        other => Err(other),
    })
    .await
}

async fn published(link: &mut MqttLink, token: homing_link::Token) {
    wait_for(link, "Published", |event| match event {
        LinkEvent::Published(done) | LinkEvent::Unheard(done) if done == token => Ok(()),
        other => Err(other),
    })
    .await;
}

fn live(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Publication {
    Publication {
        topic: topic.into(),
        payload: payload.into(),
        retention: Retention::Live,
    }
}
