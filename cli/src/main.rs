//! (see below)
fn main() {}
