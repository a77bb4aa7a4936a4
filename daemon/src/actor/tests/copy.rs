//! What is shown before the disk's passphrase comes and goes with the episode, and hinders nothing.

use super::*;
use crate::actor::bootcopy;

impl House {
    /// Where the boot partition's folder would be.
    fn boot(&self) -> PathBuf {
        self.folder.path().join("boot")
    }
    fn is_copied(&self) -> bool {
        bootcopy::lies_in(&self.boot())
    }
}

#[test]
fn the_message_before_the_passphrase_comes_with_the_episode_and_goes_with_it() {
    let mut house = House::new();
    let lost = house.lost(1);
    assert_eq!(attested_once(&mut house, &lost, 1), Outcome::Locked);
    assert!(house.is_copied());
    // Whoever cleans the boot partition up does not take it away for long.
    fs::remove_dir_all(house.boot()).unwrap();
    house.service.settle().unwrap();
    assert!(house.is_copied());
    let nonce = house.challenge();
    let off = house.off(2, nonce);
    assert_eq!(attested_once(&mut house, &off, 2), Outcome::EndedByOrder);
    assert!(!house.is_copied());
}

#[test]
fn a_phone_that_was_given_back_in_between_takes_a_stale_message_away_at_its_start() {
    let mut house = House::new();
    fs::create_dir(house.boot()).unwrap();
    fs::write(house.boot().join("lost.json"), "{}").unwrap();
    house.restart();
    assert!(!house.is_copied());
}

#[test]
fn a_boot_partition_that_takes_nothing_hinders_neither_locking_nor_giving_back() {
    let mut house = House::new();
    // No folder can be made there, and none be written into.
    fs::write(house.boot(), "a file").unwrap();
    let lost = house.lost(1);
    assert_eq!(attested_once(&mut house, &lost, 1), Outcome::Locked);
    assert!(house.is_shown());
    let nonce = house.challenge();
    let off = house.off(2, nonce);
    assert_eq!(attested_once(&mut house, &off, 2), Outcome::EndedByOrder);
    assert_eq!(fs::read_to_string(house.boot()).unwrap(), "a file");
}

#[track_caller]
fn attested_once(house: &mut House, command: &[u8], id: u8) -> Outcome {
    let answer = house.order(command);
    house.attested(&answer, id)
}
