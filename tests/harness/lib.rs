//! What scenarios are told with: real processes as values that end when dropped. It must not share code with what it tests.
#![forbid(unsafe_code)]
