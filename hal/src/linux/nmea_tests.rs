//! The NMEA reader on sentences as receivers send them, and on worse; it must not know how the simulator writes them.

use super::*;
use proptest::prelude::*;

/// A sentence with its checksum.
fn with_sum(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}")
}

fn readings(bodies: &[&str]) -> Vec<Reading> {
    let mut reader = NmeaReader::new();
    let mut found = Vec::new();
    for (index, body) in bodies.iter().enumerate() {
        let at = Duration::from_millis(u64::try_from(index).unwrap());
        found.extend(reader.take(with_sum(body).as_bytes(), at));
    }
    found.extend(reader.finish(Duration::from_secs(9)));
    found
}

const RMC: &str = "GNRMC,100001.50,A,5230.97800,N,01322.66200,W,10.00,084.4,221126,,,A";
const GGA: &str = "GNGGA,100001.50,5230.97800,N,01322.66200,W,1,08,0.9,34.0,M,45.0,M,,";

#[test]
fn motion_and_quality_of_one_epoch_make_one_reading_whichever_comes_first() {
    for bodies in [[RMC, GGA], [GGA, RMC]] {
        let found = readings(&bodies);
        assert_eq!(found.len(), 1);
        let reading = found[0];
        assert!((reading.latitude_deg - 52.516_3).abs() < 1e-9);
        assert!((reading.longitude_deg + 13.377_7).abs() < 1e-9);
        assert_eq!(reading.time_unix_ms, Some(1_795_341_601_500));
        assert!((reading.speed_m_s.unwrap() - 5.144_44).abs() < 1e-4);
        assert_eq!(reading.satellites, Some(8));
        assert_eq!(reading.hdop, Some(0.9));
        assert_eq!(reading.altitude_m, Some(34.0));
    }
}

#[test]
fn a_receiver_without_motion_is_read_when_its_next_epoch_begins_or_its_block_ends() {
    let next = GGA.replace("100001.50", "100002.50");
    let found = readings(&[GGA, &next]);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|reading| reading.time_unix_ms.is_none()));
}

#[test]
fn no_fix_an_estimate_a_typed_in_and_a_simulated_place_are_none() {
    for denied in [
        RMC.replace(",A,52", ",V,52"),
        RMC.replace(",,,A", ",,,N"),
        RMC.replace(",,,A", ",,,E"),
        GGA.replace(",W,1,", ",W,0,"),
        GGA.replace(",W,1,", ",W,6,"),
        GGA.replace(",W,1,", ",W,8,"),
        GGA.replace("GNGGA", "GNGNS").replace(",W,1,", ",W,NN,"),
    ] {
        let other = if denied.contains("RMC") { GGA } else { RMC };
        assert!(readings(&[&denied, other]).is_empty(), "{denied}");
        assert!(readings(&[other, &denied]).is_empty(), "{denied}");
    }
    let modes = GGA.replace("GNGGA", "GNGNS").replace(",W,1,", ",W,AN,");
    assert_eq!(readings(&[&modes, RMC]).len(), 1);
}

#[test]
fn a_receiver_that_has_lost_count_of_the_weeks_gives_no_time() {
    let old = RMC.replace("221126", "080407");
    assert_eq!(readings(&[&old, GGA])[0].time_unix_ms, None);
}

#[test]
fn a_sentence_that_is_cut_changed_or_without_its_sum_says_nothing() {
    let whole = with_sum(RMC);
    let mut reader = NmeaReader::new();
    let mut heard = |line: &[u8]| {
        let now = Duration::ZERO;
        reader.take(line, now).is_some() || reader.finish(now).is_some()
    };
    for end in 0..whole.len() {
        assert!(!heard(&whole.as_bytes()[..end]), "cut at {end}");
    }
    for place in 0..whole.len() {
        let mut changed = whole.clone().into_bytes();
        changed[place] ^= 1;
        assert!(!heard(&changed), "changed at {place}");
    }
    assert!(!heard(RMC.as_bytes()));
    assert!(
        heard(format!("$GNGGA,1000{whole}\r").as_bytes()),
        "the rest of another one before it"
    );
}

proptest! {
    #[test]
    fn arbitrary_sentences_never_panic_and_never_leave_the_earth(
        bodies in proptest::collection::vec("(G[NPAL](RMC|GGA|GNS|GSV)|PMTK)(,[-0-9A-Z.:a-z é]{0,12}){0,14}", 0..8)
    ) {
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        for reading in readings(&bodies) {
            prop_assert!(reading.latitude_deg.abs() <= 90.0 && reading.longitude_deg.abs() <= 180.0);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = NmeaReader::new();
        let _ = reader.take(&line, Duration::ZERO);
    }
}
