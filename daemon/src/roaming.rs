//! Whether a change of the network concerns the connection: the kernel tells of every address and route, most of which mean nothing to it. It must not ask the kernel or a clock.

use std::net::IpAddr;
use std::time::Duration;

use homing_hal::capability::network::NetworkPath;

/// Least time between two connections that are ended because the way to the broker is another one.
const MOVE_EVERY: Duration = Duration::from_secs(30);
/// Time in which one more pause may be cut short although the way to the broker is the same as before.
const SPARE_EVERY: Duration = Duration::from_secs(10);
/// Pauses that may be cut short at once after a rest: joining a network is a handful of changes, and the first ones come
/// before it carries anything.
const MOST_SPARED: u32 = 4;

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is one.
    Connected,
    /// Not now; the link tries again after a pause.
    Waiting,
}

/// What follows from a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Stay,
    /// The way to the broker is another one, and it is too early to connect anew: say so by a beacon.
    Show,
    /// Connect anew now.
    Reconnect,
}

/// The way to the broker: through which interface, from which address.
type Way = (String, Option<IpAddr>);

/// What is remembered of the network.
#[derive(Debug, Default)]
pub(crate) struct Roaming {
    way: Option<Way>,
    /// When the link was last told to connect anew, time since boot.
    told: Option<Duration>,
    /// When it is to be told of a move that came too early, time since boot.
    pending: Option<Duration>,
    /// Hasty attempts that were made and are not paid for by time yet: the number, and since when.
    hasty: (u32, Duration),
}

fn way_of(path: Option<&NetworkPath>) -> Option<Way> {
    path.map(|path| (path.interface.clone(), path.source))
}

impl Roaming {
    /// A connection stands, and goes this way.
    pub(crate) fn connected(&mut self, path: Option<&NetworkPath>) {
        self.way = way_of(path);
        self.pending = None;
    }

    fn may(&self, now: Duration, every: Duration) -> bool {
        self.told
            .is_none_or(|told| now.saturating_sub(told) >= every)
    }

    fn tell(&mut self, now: Duration) -> Verdict {
        self.told = Some(now);
        self.pending = None;
        Verdict::Reconnect
    }

    /// Something changes, and may go on changing: only who has nothing to lose acts on that.
    pub(crate) fn stirred(&mut self, now: Duration, standing: Standing) -> Verdict {
        if standing == Standing::Waiting && self.may_hurry(now) {
            return self.tell(now);
        }
        Verdict::Stay
    }

    /// Takes one hasty attempt, if there is one to take.
    fn may_hurry(&mut self, now: Duration) -> bool {
        let (made, since) = self.hasty;
        let paid = now.saturating_sub(since).as_secs() / SPARE_EVERY.as_secs();
        let left = made.saturating_sub(u32::try_from(paid).unwrap_or(u32::MAX));
        let since = if left == 0 {
            now
        } else {
            since + SPARE_EVERY * (made - left)
        };
        let may = left < MOST_SPARED;
        self.hasty = (left + u32::from(may), since);
        may
    }

    /// The network has come to rest with this path to the broker, if there is one.
    pub(crate) fn settled(
        &mut self,
        now: Duration,
        standing: Standing,
        path: Option<&NetworkPath>,
    ) -> Verdict {
        // Without a path nothing better can be had; the connection may outlive the gap.
        let way = way_of(path);
        let moved = way.is_some() && way != self.way;
        if moved {
            self.way = way;
        }
        match standing {
            Standing::Waiting if moved => self.tell(now),
            Standing::Waiting => self.stirred(now, standing),
            Standing::Connected if moved && self.may(now, MOVE_EVERY) => self.tell(now),
            Standing::Connected if moved => {
                self.pending = self.told.map(|told| told + MOVE_EVERY);
                Verdict::Show
            }
            Standing::Connected => Verdict::Stay,
        }
    }

    /// Whether a move that came too early is due.
    pub(crate) fn due(&mut self, now: Duration) -> Verdict {
        match self.pending {
            Some(at) if now >= at => self.tell(now),
            _ => Verdict::Stay,
        }
    }

    /// How long nothing is due here, if anything is.
    pub(crate) fn patience(&self, now: Duration) -> Option<Duration> {
        self.pending.map(|at| at.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_protocol::measure::{Metered, NetworkKind};

    fn path(interface: &str, last: u8) -> NetworkPath {
        NetworkPath {
            interface: interface.into(),
            source: Some([192, 0, 2, last].into()),
            kind: NetworkKind::Wifi,
            metered: Metered::Unknown,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_change_that_leaves_the_way_to_the_broker_alone_leaves_the_connection_alone() {
        let mut roaming = Roaming::default();
        let home = path("wlan0", 1);
        roaming.connected(Some(&home));
        for second in 0..600 {
            let now = at(second);
            assert_eq!(roaming.stirred(now, Standing::Connected), Verdict::Stay);
            // A gap, and the same way again.
            for seen in [Some(&home), None, Some(&home)] {
                let verdict = roaming.settled(now, Standing::Connected, seen);
                assert_eq!(verdict, Verdict::Stay);
            }
        }
    }

    #[test]
    fn another_interface_or_address_ends_the_connection_at_most_every_half_minute() {
        let mut roaming = Roaming::default();
        roaming.connected(Some(&path("wlan0", 1)));
        let mobile = path("wwan0", 1);
        let settled = roaming.settled(at(100), Standing::Connected, Some(&mobile));
        assert_eq!(settled, Verdict::Reconnect);
        roaming.connected(Some(&mobile));
        let other = path("wwan0", 2);
        let settled = roaming.settled(at(110), Standing::Connected, Some(&other));
        assert_eq!(settled, Verdict::Show, "too early");
        assert_eq!(roaming.patience(at(110)), Some(at(20)));
        assert_eq!(roaming.due(at(129)), Verdict::Stay);
        assert_eq!(roaming.due(at(130)), Verdict::Reconnect);
        assert_eq!(roaming.due(at(131)), Verdict::Stay, "once");
    }

    #[test]
    fn without_a_connection_a_change_cuts_the_pause_short_and_a_flood_of_them_does_so_seldom() {
        let mut roaming = Roaming::default();
        let home = path("wlan0", 1);
        roaming.connected(Some(&home));
        let told = (0..60)
            .filter(|second| {
                roaming.stirred(at(*second), Standing::Waiting) == Verdict::Reconnect
                    || roaming.settled(at(*second), Standing::Waiting, Some(&home))
                        == Verdict::Reconnect
            })
            .count();
        // Four at once, then one each ten seconds.
        assert_eq!(told, 9);
        // Another way is always worth an attempt.
        let verdict = roaming.settled(at(59), Standing::Waiting, Some(&path("wwan0", 1)));
        assert_eq!(verdict, Verdict::Reconnect);
    }
}
