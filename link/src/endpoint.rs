//! The address of a broker. It must not look names up.

use std::{fmt, str::FromStr};

use crate::Error;

/// The port that IANA registered for MQTT over TLS (`secure-mqtt`).
const SECURE_MQTT_PORT: u16 = 8883;

/// Where the broker listens, always over TLS: `mqtts://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A DNS name, an IPv4 address or an IPv6 address without brackets. The broker's certificate must carry it.
    pub host: String,
    /// TCP port; 8883 (IANA `secure-mqtt`) when the text form names none.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Reads `mqtts://HOST[:PORT]`, IPv6 addresses in brackets. Anything else (another scheme, a user, a path) is
    /// an error that says what is wrong.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why| Error::ReadEndpoint {
            text: text.to_owned(),
            why,
        };
        let rest = match text.split_once("://") {
            Some(("mqtts", rest)) => rest,
            Some(("mqtt" | "tcp", _)) => return Err(wrong("only TLS is spoken, write mqtts://")),
            Some(_) => return Err(wrong("the scheme must be mqtts")),
            None => return Err(wrong("mqtts:// is missing")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(wrong(
                "a user name is not used, the certificate is the identity",
            ));
        }
        let (host, port) = split_host(rest).map_err(wrong)?;
        let port = match port {
            None => SECURE_MQTT_PORT,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => return Err(wrong("the port must be a number from 1 to 65535")),
            },
        };
        if rustls_pki_types::ServerName::try_from(host).is_err() {
            return Err(wrong("the host is neither a DNS name nor an IP address"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Parts `HOST[:PORT]`, with the brackets of an IPv6 address taken off.
fn split_host(rest: &str) -> Result<(&str, Option<&str>), &'static str> {
    if rest.is_empty() {
        return Err("the host is missing");
    }
    if let Some(inner) = rest.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or("the closing ] is missing")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("only :PORT may follow the ]"),
        };
    }
    match rest.split_once(':') {
        None => Ok((rest, None)),
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address needs brackets, as in mqtts://[::1]:8883")
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "mqtts://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "mqtts://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_8883_unless_it_is_named() {
        let plain: Endpoint = "mqtts://broker.example".parse().expect("valid");
        assert_eq!((plain.host.as_str(), plain.port), ("broker.example", 8883));
        let named: Endpoint = "mqtts://192.0.2.7:18883/".parse().expect("valid");
        assert_eq!((named.host.as_str(), named.port), ("192.0.2.7", 18883));
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets_only_in_text() {
        let six: Endpoint = "mqtts://[2001:db8::1]:8884".parse().expect("valid");
        assert_eq!((six.host.as_str(), six.port), ("2001:db8::1", 8884));
        assert_eq!(six.to_string(), "mqtts://[2001:db8::1]:8884");
        assert_eq!(six.to_string().parse::<Endpoint>(), Ok(six));
    }

    #[test]
    fn each_wrong_address_is_told_what_is_wrong() {
        for (text, expected) in [
            ("broker", "mqtts:// is missing"),
            ("mqtt://broker", "only TLS"),
            ("https://broker", "the scheme must be mqtts"),
            ("mqtts://", "the host is missing"),
            ("mqtts://me@broker", "a user name is not used"),
            ("mqtts://broker:0", "the port must be"),
            ("mqtts://broker:99999", "the port must be"),
            ("mqtts://::1", "needs brackets"),
            ("mqtts://[::1", "closing ]"),
            ("mqtts://a b", "neither a DNS name"),
            ("mqtts://broker/path", "neither a DNS name"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
