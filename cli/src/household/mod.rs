//! The household's TLS: its certificate authority and the directory a broker needs. Carries no authority over phones: transport only.

mod authority;
mod broker;
#[cfg(test)]
mod tests;

pub(crate) use authority::{Authority, Serial};
pub(crate) use broker::{BrokerFiles, ServerCertificate, revoked_serials};
