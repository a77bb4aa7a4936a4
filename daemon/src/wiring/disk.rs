//! The journal before everything: no acknowledgement and no effect without it, and what a full disk leaves possible.

use std::path::Path;
use std::process::Command;

use homing_protocol::command::Op;
use homing_protocol::receipt::CommandState::*;

use super::house::*;

/// Set in the child process that has a small disk of its own, to that disk's folder.
const SMALL_DISK: &str = "HOMING_TEST_SMALL_DISK";

#[test]
fn an_order_that_cannot_be_written_down_is_not_acknowledged_not_done_and_done_later() {
    run(async {
        let mut phone = Phone::new().await;
        let before = phone.brain.state.clone();
        phone.set_disk(Disk::ReadOnly);
        let (id, _) = phone.order(ring());
        phone.settle().await;
        assert_eq!(phone.brain.state, before);
        assert!(!phone.is_siren_ordered() && phone.receipts().is_empty());
        phone.set_disk(Disk::Works);
        // The broker has it still: the next connection brings it.
        phone.hub.cut(&ADDRESS.device.to_string());
        phone.hub.admit(&ADDRESS.device.to_string());
        phone.until(|phone| phone.said(id) == [Accepted]).await;
        assert!(phone.is_siren_ordered());
    });
}

#[test]
fn what_was_put_off_is_asked_for_again_without_anybody_s_help() {
    run(async {
        let mut phone = Phone::new().await;
        phone.set_disk(Disk::ReadOnly);
        let (id, _) = phone.order(Op::Status);
        phone.settle().await;
        phone.set_disk(Disk::Works);
        assert!(phone.brain.put_off.is_some());
        assert!(phone.brain.patience() <= std::time::Duration::from_secs(30));
        // The time has come.
        phone.brain.put_off = Some(std::time::Duration::ZERO);
        phone.until(|phone| phone.said(id) == [Done]).await;
    });
}

#[test]
fn a_position_that_cannot_be_written_down_is_kept_until_it_can() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(locate());
        phone.until(|phone| phone.said(id) == [Running]).await;
        phone.set_disk(Disk::ReadOnly);
        phone.until(|phone| !phone.brain.answers.is_empty()).await;
        assert_eq!(phone.brain.state.reports, 0);
        phone.set_disk(Disk::Works);
        phone.brain.put_off = Some(std::time::Duration::ZERO);
        phone.until(|phone| phone.said(id) == [Running, Done]).await;
        assert_eq!(phone.brain.state.reports, 1);
    });
}

#[test]
fn a_failed_clean_up_of_the_outbox_leaves_the_journal_strict() {
    run(async {
        let mut phone = Phone::new().await;
        phone.set_disk(Disk::ReadOnly);
        phone
            .brain
            .journal
            .sent(crate::journal::Waiting::Receipt(1))
            .unwrap_err();
        let level: i64 = phone
            .brain
            .journal
            .database()
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .unwrap();
        assert_eq!(level, 2, "FULL");
        phone.set_disk(Disk::Works);
        phone.settle().await;
    });
}

#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    run(async {
        let phone = Phone::new().await;
        let again = crate::agent::open_state(&phone.brain.settings, &phone.identity, None);
        assert!(again.unwrap_err().to_string().contains("another agent"));
    });
}

#[test]
fn a_ring_gets_through_on_a_full_disk_and_the_reserve_is_taken_back_later() {
    if let Some(folder) = std::env::var_os(SMALL_DISK) {
        return run(ring_on_a_full_disk(Path::new(&folder).to_owned()));
    }
    // A mount of its own needs a name space of its own, which goes with the process.
    let folder = tempfile::tempdir().unwrap();
    let test =
        "wiring::disk::a_ring_gets_through_on_a_full_disk_and_the_reserve_is_taken_back_later";
    let script =
        r#"mount -t tmpfs -o size=4m,mode=700 none "$0" && exec "$1" --exact --nocapture "$2""#;
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(SMALL_DISK, folder.path())
        .output();
    match child {
        Ok(child) if child.status.success() => {}
        Ok(child) => {
            let said = [child.stdout, child.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            // Some kernels give nobody a name space; the other tests of this file hold there too.
            assert!(
                said.contains("unshare:") || said.contains("mount:"),
                "{said}"
            );
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

async fn ring_on_a_full_disk(folder: std::path::PathBuf) {
    let mut phone = Phone::in_folders(None, &folder.join("state")).await;
    fill(&folder);
    let reserve = phone.state_dir().join("reserve");
    // Signs of life never cost the reserve.
    for _ in 0..100 {
        phone.brain.beacon_at = std::time::Duration::ZERO;
        phone.settle_quickly().await;
    }
    assert!(reserve.exists());
    let mut rang = Vec::new();
    while reserve.exists() {
        assert!(rang.len() < 500, "the disk is not full");
        rang.push(phone.order(ring()).0);
        phone.settle_quickly().await;
    }
    let (last, _) = phone.order(ring());
    phone.until(|phone| phone.said(last) == [Accepted]).await;
    for id in &rang {
        phone
            .until(|phone| phone.said(*id).contains(&Accepted))
            .await;
    }
    assert!(phone.is_siren_ordered());
    // The disk has room again.
    std::fs::remove_file(folder.join("ballast")).unwrap();
    phone.brain.beacon_at = std::time::Duration::ZERO;
    phone.until(|_| reserve.exists()).await;
    let text = phone
        .brain
        .journal
        .database()
        .query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(text.unwrap(), "ok");
}

/// Writes until there is no room left.
fn fill(folder: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(folder.join("ballast")).unwrap();
    while file.write_all(&[0xa5; 512]).is_ok() {}
}
