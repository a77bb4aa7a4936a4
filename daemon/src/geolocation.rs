//! The service that turns cells and Wi-Fi access points into a place, where the configuration names one; without that nothing around the phone is told to anybody.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use homing_hal::capability::position::PositionSource;
use homing_hal::capability::resolve::Resolve;
use homing_hal::linux::surroundings::Surroundings;
use homing_hal::{Fault, Hal, HalSettings, Roots};
use homing_link::{HttpsUrl, NoAnswer, https};

use crate::wallclock;

/// Where systems keep the certificate authorities that they believe, below `/etc`: Debian and Alpine, then others.
const AUTHORITIES: [&str; 2] = ["ssl/certs/ca-certificates.crt", "ssl/cert.pem"];

/// The body with the service's source of positions, last of all, where one is named.
#[must_use]
pub(crate) fn open(settings: &HalSettings, roots: &Roots) -> Hal {
    let mut hal = Hal::open(settings, roots);
    let named = settings.position.geolocation.as_deref();
    // Checked when the configuration was read.
    if let Some(Ok(url)) = named.map(str::parse) {
        let authorities = settings.position.geolocation_ca.clone();
        let service = Box::new(Service {
            url,
            authorities: authorities.map_or_else(
                || AUTHORITIES.map(|path| roots.etc.join(path)).into(),
                |named| vec![named],
            ),
        });
        let source: Box<dyn PositionSource> = Box::new(Surroundings::new(roots, service));
        hal.positions.push(source);
    }
    hal
}

struct Service {
    url: HttpsUrl,
    authorities: Vec<PathBuf>,
}

impl Resolve for Service {
    fn name(&self) -> String {
        self.url.host().to_owned()
    }

    fn resolve(&self, question: &[u8], until: Instant) -> Result<Vec<u8>, Fault> {
        let read = |path: &PathBuf| fs::read_to_string(path).ok();
        let authorities = self.authorities.iter().find_map(read).ok_or_else(|| {
            Fault::Absent("no list of certificate authorities can be read".into())
        })?;
        https::post_json(&self.url, &authorities, wallclock::now, question, until).map_err(
            |error| {
                let sentence = error.to_string();
                match error {
                    NoAnswer::Unreachable { .. } => Fault::Absent(sentence),
                    NoAnswer::Status { .. } => Fault::Denied(sentence),
                    NoAnswer::Torn { .. } => Fault::Broken(sentence),
                    NoAnswer::TimedOut { .. } => Fault::TimedOut(sentence),
                }
            },
        )
    }
}
