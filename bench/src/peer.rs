//! The bare link as a process: what rumqttc, rustls and tokio cost before homingd does anything. It must not do more than connect and listen.

use std::path::Path;

use homing_link::{Credentials, LinkEvent, LinkSettings, MqttLink, SessionKind, Transport};
use std::time::Duration;

use crate::error::{Error, unreadable};
use crate::house::local;

/// The word that starts this process: `homing-bench bare-link PORT ID KEEP_ALIVE_S FOLDER FILTER…`.
pub(crate) const WORD: &str = "bare-link";
/// What it prints once the broker has answered.
pub(crate) const READY: &str = "connected";

/// Connects with the papers in a folder (`ca.crt`, `client.crt`, `client.key`) and stays.
///
/// # Errors
/// Unreadable arguments or papers; the connection ended.
pub(crate) async fn stay(words: &[String]) -> Result<(), Error> {
    let [port, id, keep_alive, folder, filters @ ..] = words else {
        return Err(unreadable("the bare link's arguments"));
    };
    let number = |text: &String| text.parse().map_err(|_| unreadable("a number"));
    let port = u16::try_from(number(port)?).map_err(|_| unreadable("the port"))?;
    let folder = Path::new(folder);
    let papers = Credentials {
        ca_pem: read(&folder.join("ca.crt"))?,
        certificate_pem: read(&folder.join("client.crt"))?,
        key_pem: read(&folder.join("client.key"))?.into(),
    };
    let mut settings = LinkSettings::new(local(port), papers, id.clone());
    settings.subscriptions = filters.to_vec();
    settings.keep_alive = Duration::from_secs(number(keep_alive)?);
    settings.session = SessionKind::Persistent {
        expiry: Duration::from_secs(3600),
    };
    let mut link = MqttLink::start(settings)?;
    loop {
        match link.next().await {
            LinkEvent::Connected { .. } => println!("{READY}"),
            LinkEvent::Message(delivery) => link.acknowledge(delivery.acknowledgement),
            LinkEvent::Disconnected { reason, .. } => eprintln!("{reason}"),
            _ => {}
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
