//! The power goes at any moment; the same disk, switched on again, is the same phone, and what waited is done.

use crate::household::{Home, connected_after, every_kit, figures};
use e2e::Fittings;
use serde_json::json;

/// kill -9 of QEMU takes what the guest had not flushed, as a battery that is pulled out does.
#[test]
fn after_each_power_cut_the_phone_is_still_enrolled_and_does_what_waited() {
    let Some(kit) = every_kit() else { return };
    let mut home = Home::enrolled(kit, Fittings::default());
    let mut boots = Vec::new();
    for round in 0..3 {
        match round {
            // Idle; the order finds nobody.
            0 => home.power_cut(),
            // The order is under way when the power goes.
            1 => {}
            // Just connected.
            _ => {
                home.power_cut();
                let _ = connected_after(home.boot());
                home.power_cut();
            }
        }
        let order = home.order_position();
        if round == 1 {
            home.power_cut();
        }
        let guest = home.boot();
        let connected_s = connected_after(guest).as_secs_f64();
        boots.push(json!({
            "kernel to connected, s": connected_s,
            "QEMU's processor time until then, s": guest.processor_time().as_secs_f64(),
        }));
        let _receiver = guest.receiver();
        assert_eq!(guest.status()["enrolled"], "yes");
        assert_eq!(home.wait_end(&order), "done", "round {round}");
    }
    figures(&json!({"boots": boots}));
}
