//! Measured values and their units, as they cross the wire. No floating point: every number is a scaled integer, so that two implementations encode the same bytes.

/// A place on Earth as a receiver or a fallback source stated it (WGS 84).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When it was measured, milliseconds since 1970-01-01 UTC by the source's own clock; `None` when that clock is unknown.
    pub time_unix_ms: Option<i64>,
    /// Latitude in 1e-7 degrees, north positive, −900,000,000..=900,000,000.
    pub latitude_e7: i32,
    /// Longitude in 1e-7 degrees, east positive, −1,800,000,000..=1,800,000,000.
    pub longitude_e7: i32,
    /// Radius in decimetres that holds the truth with 95 % probability.
    pub accuracy_dm: u32,
    /// Height above the WGS 84 ellipsoid or mean sea level, decimetres.
    pub altitude_dm: Option<i32>,
    /// Speed over ground, centimetres per second.
    pub speed_cm_s: Option<u32>,
    /// Course over ground, hundredths of a degree from true north, 0..36,000.
    pub course_cdeg: Option<u16>,
    /// Where the position comes from.
    pub source: PositionSource,
    /// How old the measurement was when it was reported, seconds.
    pub age_s: u32,
}

/// Positions are personal: debug output never carries one.
impl core::fmt::Debug for Position {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Position({:?}, redacted)", self.source)
    }
}

/// The kinds of source, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PositionSource {
    /// A satellite receiver (GPS, GLONASS, Galileo, BeiDou).
    Gnss = 0,
    /// Wi-Fi access points nearby, resolved by a service the owner chose.
    Wifi = 1,
    /// Mobile cells nearby, resolved likewise.
    Cell = 2,
    /// The newest position the phone still knows.
    LastKnown = 3,
}

/// What carries the phone's traffic towards the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkKind {
    /// The route could not be attributed to a kind of interface.
    Unknown = 0,
    /// Wireless LAN.
    Wifi = 1,
    /// Mobile data.
    Cellular = 2,
    /// Wired.
    Ethernet = 3,
    /// A tunnel whose carrier is not known.
    Vpn = 4,
}

/// Whether traffic costs money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metered {
    /// Nobody said; treated like yes where money is concerned.
    Unknown = 0,
    /// Volume is charged or limited.
    Yes = 1,
    /// Free to use.
    No = 2,
}

/// The battery as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Battery {
    /// Charge in percent, 0..=100; `None` where no battery reports one.
    pub percent: Option<u8>,
    /// Whether it is being filled.
    pub charging: Charging,
}

/// Direction of the battery's current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Charging {
    /// The kernel does not say.
    Unknown = 0,
    /// Power flows in.
    Charging = 1,
    /// Power flows out.
    Discharging = 2,
    /// Full, or held at its limit.
    Full = 3,
}

macro_rules! from_code {
    ($($kind:ident { $($variant:ident),+ })+) => { $(
        impl $kind {
            /// The variant with this wire code, if there is one.
            #[must_use]
            pub const fn from_code(code: u64) -> Option<Self> {
                $(if code == Self::$variant as u64 { return Some(Self::$variant); })+
                None
            }
            /// Its code on the wire.
            #[must_use]
            pub const fn code(self) -> u64 {
                self as u64
            }
        }
    )+ };
}
from_code! {
    PositionSource { Gnss, Wifi, Cell, LastKnown }
    NetworkKind { Unknown, Wifi, Cellular, Ethernet, Vpn }
    Metered { Unknown, Yes, No }
    Charging { Unknown, Charging, Discharging, Full }
}
