//! The store with several processes at once, after being closed in the middle, and with what phones may send twice.
use super::*;
use crate::clock::UnixMs;
