//! How a phone joins under the circumstances of a real one. It must not need a phone.

use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use nix::unistd::{Gid, Uid, chown, geteuid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

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
    // The privileged half's folder is nobody's but root's, as the package makes it.
    let privileged = household.scratch.folder("privileged");
    let setting = format!("actor_dir = {privileged:?}\n");
    household.handset.configure("actor", &setting);
    household.handset.enrol(&bundle);
    let owner_of = |path: PathBuf| std::fs::metadata(path).expect("made").uid();
    for made in ["identity", "identity/identity.cbor", "actor"] {
        assert_eq!(owner_of(state.join(made)), NOBODY, "{made}");
    }
    assert_eq!(owner_of(privileged.join("identity.cbor")), 0);
    let left = state.join("actor/act_sig");
    assert!(!left.exists(), "the agent has no copy of the key");
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
