//! Why a connection ended or could not be made, one clear sentence each. It must not decide what to do about it.

use std::io::{self, ErrorKind};

use rumqttc::{
    TlsError as RumqttTlsError,
    v5::{
        ConnectionError, StateError,
        mqttbytes::{
            Error as PacketError,
            v5::{ConnectReturnCode, DisconnectReasonCode},
        },
    },
};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// The reason of [`crate::LinkEvent::Disconnected`]. `Display` is one sentence for a person; the variant is for code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// No route, no interface, or nobody at that address.
    #[error("the network or the broker's machine cannot be reached")]
    Unreachable,
    /// The look-up of the broker's name failed.
    #[error("the broker's name cannot be resolved (no DNS, or the name is wrong)")]
    NameNotFound,
    /// A machine answered, but nothing listens on that port.
    #[error("nothing listens at the broker's address and port")]
    Refused,
    /// No answer within the connect timeout.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// The certificate does not lead to the pinned household CA.
    #[error("the broker's certificate was not issued by this household's CA")]
    BrokerNotTrusted,
    /// The certificate is over, by our clock.
    #[error("the broker's certificate has expired, or this device's clock is too far ahead")]
    BrokerCertificateExpired,
    /// The certificate is for somebody else.
    #[error("the broker's certificate is for another name than the one connected to")]
    BrokerNameMismatch,
    /// Any other fault of the broker's certificate.
    #[error("the broker's certificate cannot be used: {0}")]
    BrokerCertificateInvalid(String),
    /// The broker said so in a TLS alert.
    #[error("the broker refused this client's certificate as revoked")]
    CertificateRevoked,
    /// The broker said so in a TLS alert.
    #[error("the broker did not accept this client's certificate ({0})")]
    CertificateRejected(String),
    /// The TLS handshake failed in another way.
    #[error("no TLS connection can be made with the broker: {0}")]
    Tls(String),
    /// CONNACK: bad user, not authorised or banned.
    #[error("the broker does not let this client in (not authorised)")]
    NotAuthorised,
    /// CONNACK: the id is not accepted.
    #[error("the broker does not accept this client id")]
    ClientIdRefused,
    /// CONNACK or DISCONNECT: busy, shutting down, quota or rate exceeded.
    #[error("the broker is shutting down or too busy")]
    BrokerBusy,
    /// Somebody else connected with the same client id.
    #[error("another client connected under this client id")]
    TakenOver,
    /// Closed during or right after the TLS handshake, before CONNACK.
    #[error(
        "the broker closed the connection before it answered; it may not accept this client's certificate"
    )]
    ClosedEarly,
    /// Closed or broken after CONNACK.
    #[error("the connection to the broker broke")]
    Broken,
    /// Nothing that waited for an answer got one for three keep-alives.
    #[error("the broker stopped answering")]
    Stalled,
    /// [`crate::Transport::network_changed`].
    #[error("the network changed")]
    NetworkChanged,
    /// The peer broke MQTT, or sent more than the packet limit.
    #[error("the broker sent something that is not valid MQTT: {0}")]
    Protocol(String),
}

/// Sorts what rumqttc reports. `accepted` says whether CONNACK had been seen.
pub(crate) fn classify(error: &ConnectionError, accepted: Accepted) -> Disconnect {
    match error {
        ConnectionError::Timeout(_) => Disconnect::TimedOut,
        ConnectionError::Io(error) => from_io(error, accepted),
        ConnectionError::Tls(RumqttTlsError::Io(error)) => from_io(error, accepted),
        ConnectionError::Tls(RumqttTlsError::TLS(error)) => from_tls(error),
        ConnectionError::Tls(error) => Disconnect::Tls(error.to_string()),
        ConnectionError::ConnectionRefused(code) => from_connack(*code),
        ConnectionError::MqttState(error) => from_state(error, accepted),
        ConnectionError::NotConnAck(_) => {
            Disconnect::Protocol("something else than CONNACK answered CONNECT".to_owned())
        }
        ConnectionError::RequestsDone => Disconnect::Broken,
    }
}

/// Whether the broker had accepted this client before the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// No CONNACK yet.
    NotYet,
    /// CONNACK with success was seen.
    Yes,
}

fn closed(accepted: Accepted) -> Disconnect {
    match accepted {
        Accepted::NotYet => Disconnect::ClosedEarly,
        Accepted::Yes => Disconnect::Broken,
    }
}

fn from_io(error: &io::Error, accepted: Accepted) -> Disconnect {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    {
        return from_tls(tls);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Disconnect::Refused,
        ErrorKind::TimedOut => Disconnect::TimedOut,
        ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => Disconnect::Unreachable,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => closed(accepted),
        // getaddrinfo has no ErrorKind of its own; std words it "failed to lookup address information".
        _ if error.to_string().contains("lookup address") => Disconnect::NameNotFound,
        _ => closed(accepted),
    }
}

fn from_tls(error: &TlsError) -> Disconnect {
    match error {
        TlsError::InvalidCertificate(error) => from_certificate(error),
        TlsError::AlertReceived(alert) => from_alert(*alert),
        error => Disconnect::Tls(error.to_string()),
    }
}

fn from_certificate(error: &CertificateError) -> Disconnect {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Disconnect::BrokerNotTrusted
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Disconnect::BrokerCertificateExpired
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Disconnect::BrokerNameMismatch
        }
        error => Disconnect::BrokerCertificateInvalid(error.to_string()),
    }
}

fn from_alert(alert: AlertDescription) -> Disconnect {
    match alert {
        AlertDescription::CertificateRevoked => Disconnect::CertificateRevoked,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError
        | AlertDescription::CertificateRequired => {
            Disconnect::CertificateRejected(format!("{alert:?}"))
        }
        alert => Disconnect::Tls(format!("the broker sent the alert {alert:?}")),
    }
}

fn from_connack(code: ConnectReturnCode) -> Disconnect {
    match code {
        ConnectReturnCode::NotAuthorized
        | ConnectReturnCode::BadUserNamePassword
        | ConnectReturnCode::BadAuthenticationMethod
        | ConnectReturnCode::Banned => Disconnect::NotAuthorised,
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            Disconnect::ClientIdRefused
        }
        ConnectReturnCode::ServiceUnavailable
        | ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::ServerBusy
        | ConnectReturnCode::QuotaExceeded
        | ConnectReturnCode::ConnectionRateExceeded => Disconnect::BrokerBusy,
        code => Disconnect::Protocol(format!("CONNECT was refused with {code:?}")),
    }
}

fn from_state(error: &StateError, accepted: Accepted) -> Disconnect {
    match error {
        StateError::Io(error) | StateError::Deserialization(PacketError::Io(error)) => {
            from_io(error, accepted)
        }
        StateError::ConnectionAborted => closed(accepted),
        StateError::AwaitPingResp | StateError::CollisionTimeout => Disconnect::Stalled,
        StateError::ConnFail { reason } => from_connack(*reason),
        StateError::ServerDisconnect { reason_code, .. } => from_server(*reason_code),
        error => Disconnect::Protocol(error.to_string()),
    }
}

fn from_server(code: DisconnectReasonCode) -> Disconnect {
    match code {
        DisconnectReasonCode::SessionTakenOver => Disconnect::TakenOver,
        DisconnectReasonCode::NotAuthorized => Disconnect::NotAuthorised,
        DisconnectReasonCode::ServerBusy
        | DisconnectReasonCode::ServerShuttingDown
        | DisconnectReasonCode::MessageRateTooHigh
        | DisconnectReasonCode::QuotaExceeded
        | DisconnectReasonCode::ConnectionRateExceeded => Disconnect::BrokerBusy,
        DisconnectReasonCode::KeepAliveTimeout | DisconnectReasonCode::AdministrativeAction => {
            Disconnect::Broken
        }
        code => Disconnect::Protocol(format!("the broker disconnected with {code:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_inside_an_io_error_is_found() {
        let inner = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = ConnectionError::Io(io::Error::new(ErrorKind::InvalidData, inner));
        assert_eq!(
            classify(&error, Accepted::NotYet),
            Disconnect::BrokerNotTrusted
        );
    }

    #[test]
    fn a_closed_connection_is_told_apart_by_whether_the_broker_had_accepted() {
        let reset = || ConnectionError::Io(ErrorKind::ConnectionReset.into());
        assert_eq!(
            classify(&reset(), Accepted::NotYet),
            Disconnect::ClosedEarly
        );
        assert_eq!(classify(&reset(), Accepted::Yes), Disconnect::Broken);
    }

    #[test]
    fn a_revoked_certificate_is_named_as_such() {
        let alert = TlsError::AlertReceived(AlertDescription::CertificateRevoked);
        let io = io::Error::new(ErrorKind::InvalidData, alert);
        let error = ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(io)));
        let reason = classify(&error, Accepted::NotYet);
        assert_eq!(reason, Disconnect::CertificateRevoked);
        assert!(reason.to_string().contains("revoked"));
    }
}
