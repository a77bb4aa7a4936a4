//! The exchange over a broker in memory, against a phone played with the protocol's own words.
