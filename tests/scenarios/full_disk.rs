//! Disks without a free byte, the phone's and the owner's: the phone is found and rings all the same, and when there is room again nothing has been lost.

use crate::story::{Watch, each_has_one_end, ends, text, wait_positions, wait_settled};
use e2e::{Household, PATIENCE, PHONE, Receiver, SmallDisk, wait_until};
use serde_json::json;

/// The size of the disk, MiB (design 06).
const DISK_MIB: u32 = 16;

fn quick() -> Household {
    let household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household
}

#[test]
fn a_phone_with_a_full_disk_is_found_and_rings_and_recovers_when_there_is_room() {
    let test =
        "full_disk::a_phone_with_a_full_disk_is_found_and_rings_and_recovers_when_there_is_room";
    if !SmallDisk::is_allowed(test) {
        return;
    }
    let mut household = quick();
    household.wait_connected();
    household.handset.stop();
    let disk = SmallDisk::under(&household.handset.state(), DISK_MIB);
    household.handset.start();
    household.wait_connected();
    let reserve = household.handset.state().join("reserve");
    wait_until(PATIENCE, "space to be held back", || {
        reserve.exists().then_some(())
    });

    disk.fill();
    let rung = household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    let stopped = household.owner.json(&["ring", PHONE, "--stop"]);
    assert_eq!(stopped["state"], "done", "{stopped}");
    household.sim.wait_silent(PATIENCE);
    let found = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
    assert!(found["latitude"].is_f64(), "{found}");

    // Killed and begun again without a free byte, until then and after.
    household.handset.kill9_agent();
    household.handset.kill9_siren();
    disk.fill();
    household.handset.start();
    household.wait_connected();

    disk.free();
    let rung = household.owner.json(&["ring", PHONE, "--for", "1s"]);
    assert!(
        rung["state"] == "running" || rung["state"] == "done",
        "{rung}"
    );
    wait_settled(&household);
    wait_until(PATIENCE, "space to be held back again", || {
        // It is looked for with each order.
        let _ = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
        reserve.exists().then_some(())
    });
    wait_until(PATIENCE, "every order to have ended", || {
        let log = household.log();
        let ended = |order: &serde_json::Value| crate::story::ENDS.contains(&text(&order["state"]));
        log.iter().all(ended).then_some(())
    });
    assert!(
        ends(&household)
            .values()
            .all(|end| end == "done" || end == "cancelled")
    );
    each_has_one_end(&household);
    drop(household);
    drop(disk);
}

#[test]
fn a_watch_with_a_full_disk_goes_on_when_there_is_room_and_has_lost_nothing() {
    let test =
        "full_disk::a_watch_with_a_full_disk_goes_on_when_there_is_room_and_has_lost_nothing";
    if !SmallDisk::is_allowed(test) {
        return;
    }
    let mut household = quick();
    let disk = SmallDisk::under(household.owner.home(), DISK_MIB);
    // The broker's files lie in the owner's folder: it is begun again on the disk that holds them now.
    household.broker.restart();
    household.wait_connected();
    let watch = Watch::start(&household);
    let first = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
    assert!(first["latitude"].is_f64(), "{first}");
    wait_positions(&household, &watch);

    disk.fill();
    // The phone goes on by itself; its positions cannot be kept.
    household
        .handset
        .configure("track", "[track]\nmoving_s = 1\nstationary_s = 1\n");
    household.handset.reload();
    wait_until(PATIENCE, "positions of a full disk's time", || {
        (household.status()["agent"]["reports"].as_u64() >= Some(5)).then_some(())
    });
    let trouble = wait_until(PATIENCE, "the watch to say what is wrong", || {
        let said = watch.said();
        said.contains("trying again").then_some(said)
    });
    assert!(trouble.contains("full"), "{trouble}");

    household
        .handset
        .configure("track", "[track]\nmoving_s = 86400\nstationary_s = 86400\n");
    household.handset.reload();
    disk.free();
    wait_positions(&household, &watch);
    let order = crate::story::queue(&household.owner, &["ring", PHONE, "--for", "1s"]);
    assert_eq!(watch.wait_end(&order), "done");
    each_has_one_end(&household);
    drop(watch);
    drop(household);
    drop(disk);
}
