//! The phone's privileged half, `homingd actor`, and the agent's way to ask it. It has no network, and believes nothing that is not signed.

pub(crate) mod ask;
#[expect(dead_code, reason = "shown by the next slice")]
pub(crate) mod notice;
