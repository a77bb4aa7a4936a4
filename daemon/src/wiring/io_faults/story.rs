//! The story of a phone whose disk fails at some moment: orders of every kind, a compaction and a restart, with a supervisor that starts the agent again. It must not know what fails.

use std::path::Path;

use homing_protocol::command::Op;
use homing_protocol::receipt::CommandState;

use crate::siren::report::Phase;
use crate::wiring::rig::Rig;

/// Tells it in an empty folder; `begins` is called between the setting and the story, `ends` before it is judged.
pub(super) fn tell(folder: &Path, begins: impl FnOnce(), ends: impl FnOnce()) {
    let mut rig = Rig::new(folder);
    begins();
    rig.start();
    let located = rig.order(Op::Locate { search_s: 10 });
    rig.until("the position", |rig| {
        rig.told(located) == Some(CommandState::Done)
    });
    let ring = rig.order(Op::Ring { for_s: 3_600 });
    rig.until("the siren's order", |rig| rig.is_siren_ordered());
    rig.siren_says(ring, Phase::Sounding);
    rig.until("the sound", |rig| {
        rig.told(ring) == Some(CommandState::Running)
    });
    let stop = rig.order(Op::RingStop { rings: vec![ring] });
    rig.until("the order's end", |rig| !rig.is_siren_ordered());
    rig.siren_says(ring, Phase::Ended);
    rig.until("silence", |rig| rig.told(stop) == Some(CommandState::Done));
    assert_eq!(rig.told(ring), Some(CommandState::Cancelled));
    rig.grow_long();
    rig.brain = None;
    rig.start();
    for op in [Op::Status, Op::Locate { search_s: 10 }] {
        let order = rig.order(op);
        rig.until("an answer after all", |rig| {
            rig.told(order) == Some(CommandState::Done)
        });
    }
    ends();
    rig.check();
}
