//! The guided tour behind ./demo; it must not show anything that the real programs did not do.
#![forbid(unsafe_code)]

fn main() {}
