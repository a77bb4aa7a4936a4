//! What can be wrong with the settings of a link. It must not describe network failures: those are `Disconnect`.

/// A link cannot be built from these settings; nothing was sent. A person has to change them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// While reading the address of the broker.
    #[error(
        "the broker address {text:?} is not of the form mqtts://HOST or mqtts://HOST:PORT: {why}"
    )]
    ReadEndpoint {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// While reading the household's certificate authority.
    #[error("the household CA certificate cannot be used: {why}")]
    ReadCa {
        /// What is wrong with it.
        why: String,
    },
    /// While reading this client's certificate.
    #[error("the client certificate cannot be used: {why}")]
    ReadCertificate {
        /// What is wrong with it.
        why: String,
    },
    /// While reading this client's private key; the reason never quotes it.
    #[error("the private key of the client certificate cannot be used: {why}")]
    ReadKey {
        /// What is wrong with it.
        why: String,
    },
    /// While joining certificate, key and protocol versions into a TLS configuration.
    #[error("TLS cannot be set up with this certificate and key: {why}")]
    BuildTls {
        /// What rustls says.
        why: String,
    },
    /// While checking a topic filter.
    #[error("{filter:?} is not a valid MQTT topic filter")]
    CheckSubscription {
        /// The filter.
        filter: String,
    },
    /// While checking the client id.
    #[error("the MQTT client id must be 1 to 128 printable ASCII characters without spaces")]
    CheckClientId,
    /// While checking durations and sizes.
    #[error("{setting} is out of range: {why}")]
    CheckRange {
        /// The name of the setting.
        setting: &'static str,
        /// The range.
        why: &'static str,
    },
}
