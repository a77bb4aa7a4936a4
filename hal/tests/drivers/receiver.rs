//! The simulated receiver as a real gpsd sees it.

use std::time::Duration;

use homing_hal::capability::position::PositionSource;
use homing_hal::conformance;
use homing_hal::fault::{Cancel, Fault};
use homing_hal::linux::gpsd::{Gpsd as Driver, GpsdAddress};

use crate::phone::{Gpsd, Phone};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_real_gpsd_on_the_simulated_receiver_conforms() {
    let phone = Phone::start();
    let Some(gpsd) = Gpsd::start(phone.nmea) else {
        return;
    };
    let mut driver = Driver::new(GpsdAddress::Tcp(gpsd.address));
    conformance::a_working_position_source(&mut driver, (52.5, 13.4), PATIENCE);
    let fix = driver.locate(PATIENCE, &Cancel::new()).unwrap();
    assert_eq!(fix.satellites, Some(9));
    assert!(
        (100..400).contains(&fix.position.accuracy_dm),
        "gpsd's eph of HDOP 0.9: {}",
        fix.position.accuracy_dm
    );
}

#[test]
fn a_real_gpsd_has_no_fix_while_the_phone_is_indoors() {
    let mut phone = Phone::start();
    phone.order(r#"{"set":"position","indoors":true}"#);
    let Some(gpsd) = Gpsd::start(phone.nmea) else {
        return;
    };
    let mut driver = Driver::new(GpsdAddress::Tcp(gpsd.address));
    conformance::a_position_source_without_a_fix(&mut driver);
    phone.order(r#"{"set":"position","indoors":false,"first_fix_ms":0}"#);
    let fix = driver.locate(PATIENCE, &Cancel::new()).unwrap();
    conformance::is_near(&fix, (52.5, 13.4));
}

#[test]
fn a_real_gpsd_follows_a_track() {
    let mut phone = Phone::start();
    let Some(gpsd) = Gpsd::start(phone.nmea) else {
        return;
    };
    phone.order(r#"{"set":"track","points":[[52.5,13.4],[52.6,13.4]],"speed_m_s":25}"#);
    let mut driver = Driver::new(GpsdAddress::Tcp(gpsd.address));
    let first = driver.locate(PATIENCE, &Cancel::new()).unwrap();
    let second = driver.locate(PATIENCE, &Cancel::new()).unwrap();
    assert!(second.position.latitude_e7 > first.position.latitude_e7);
    assert!(
        second
            .position
            .speed_cm_s
            .is_some_and(|speed| (2_400..2_600).contains(&speed))
    );
}

#[test]
fn a_receiver_on_a_loose_cable_gives_no_fix() {
    let mut phone = Phone::start();
    phone.order(r#"{"fail":"position","how":"broken"}"#);
    let Some(gpsd) = Gpsd::start(phone.nmea) else {
        return;
    };
    let mut driver = Driver::new(GpsdAddress::Tcp(gpsd.address));
    let ended = driver.locate(Duration::from_secs(3), &Cancel::new());
    assert!(matches!(ended, Err(Fault::TimedOut(_))), "{ended:?}");
}
