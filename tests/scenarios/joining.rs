//! How a phone joins under the circumstances of a real one. It must not need a phone.

use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use nix::unistd::{Gid, Uid, chown, geteuid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Debian's user `nobody`, standing in for the agent's user.
const NOBODY: u32 = 65_534;

#[test]
fn joining_with_sudo_leaves_the_keys_to_the_user_of_the_agent() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let household = Household::without_phone(Receiver::Simulated);
    let bundle = household.bundle();
    let path = bundle.display().to_string();
    let _ = household
        .owner
        .homing(&["device", "add", PHONE, "--out", &path])
        .expect_success();
    let state = household.handset.state();
    chown(
        &state,
        Some(Uid::from_raw(NOBODY)),
        Some(Gid::from_raw(NOBODY)),
    )
    .expect("root may");
    // The agent's user must be able to reach its folder, as it can reach /var/lib/homing.
    for folder in state
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(household.scratch.path()))
    {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("ours");
    }
    household.handset.enrol(&bundle);
    for made in [
        "identity",
        "identity/identity.cbor",
        "actor",
        "actor/act_sig",
    ] {
        let owner = std::fs::metadata(state.join(made)).expect("made").uid();
        assert_eq!(owner, NOBODY, "{made}");
    }
}

#[test]
fn nobody_joins_or_leaves_beside_an_agent_that_still_claims_its_bundle() {
    let mut household = Household::without_phone(Receiver::Simulated);
    let bundle = household.bundle();
    let path = bundle.display().to_string();
    let _ = household
        .owner
        .homing(&["device", "add", PHONE, "--out", &path])
        .expect_success();
    household.handset.enrol(&bundle);
    household.handset.start();
    // The owner has not answered: no status of the agent's tells of it.
    wait_until(PATIENCE, "the agent to claim", || {
        let log = household.handset.agent_log();
        log.contains("claiming the bundle").then_some(())
    });
    for arguments in [&["leave", PHONE][..], &["enrol", &path, "--yes"]] {
        let refused = household.handset.homingd(arguments).sentence("homingd", 78);
        assert!(refused.contains("stop the agent first"), "{refused}");
    }
    let _ = household
        .owner
        .homing(&["device", "accept", PHONE, "--wait", "60s"])
        .expect_success();
    household.wait_connected();
    // Stopped, it leaves, and nothing of the agent's hold on the folder stays.
    household.handset.stop();
    let _ = household
        .handset
        .homingd(&["leave", PHONE])
        .expect_success();
    assert!(!household.handset.state().join("agent.lock").exists());
}
