//! The verifier's clock over real TLS, and the ways in which a broker's certificate can be wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing_link::{Disconnect, LinkSettings, MqttLink, Transport};

use crate::{
    connected, disconnected,
    household::{ALWAYS, Household, Years},
    mosquitto::{Mosquitto, OWNER},
    run, settings,
};

fn at_1970() -> SystemTime {
    UNIX_EPOCH
}

/// One second after the end of 32-bit time.
fn at_2038() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_147_483_648)
}

fn at_2099() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(4_102_358_400)
}

fn owner(broker: &Mosquitto) -> LinkSettings {
    settings(
        broker.address(),
        &broker.household.ca_pem(),
        &broker.household.client(OWNER),
    )
}

#[test]
fn a_phone_whose_clock_says_1970_or_2038_or_2099_connects() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    run(async {
        for clock in [at_1970, at_2038, at_2099] {
            let mut link = MqttLink::start(LinkSettings {
                system_clock: clock,
                ..owner(&broker)
            })
            .expect("settings");
            connected(&mut link).await;
            link.close(crate::DEADLINE).await;
        }
    });
}

#[test]
fn a_phone_at_1970_connects_to_a_broker_certified_after_the_phone_was_built() {
    let Some(broker) = Mosquitto::start_named(
        &["127.0.0.1"],
        Years {
            from: 2090,
            to: 9999,
        },
    ) else {
        return;
    };
    run(async {
        let settings = LinkSettings {
            system_clock: at_1970,
            ..owner(&broker)
        };
        connected(&mut MqttLink::start(settings).expect("settings")).await;
    });
}

#[test]
fn an_expired_certificate_is_refused_even_by_a_phone_at_1970() {
    let Some(broker) = Mosquitto::start_named(
        &["127.0.0.1"],
        Years {
            from: 2020,
            to: 2024,
        },
    ) else {
        return;
    };
    run(async {
        for clock in [at_1970, SystemTime::now] {
            let settings = LinkSettings {
                system_clock: clock,
                ..owner(&broker)
            };
            let mut link = MqttLink::start(settings).expect("settings");
            assert_eq!(
                disconnected(&mut link).await.0,
                Disconnect::BrokerCertificateExpired
            );
        }
    });
}

#[test]
fn the_durable_time_refuses_a_certificate_that_ended_before_it() {
    let Some(broker) = Mosquitto::start_named(
        &["127.0.0.1"],
        Years {
            from: 2020,
            to: 2035,
        },
    ) else {
        return;
    };
    run(async {
        let settings = LinkSettings {
            system_clock: at_1970,
            clock_floor: at_2038(),
            ..owner(&broker)
        };
        let mut link = MqttLink::start(settings).expect("settings");
        assert_eq!(
            disconnected(&mut link).await.0,
            Disconnect::BrokerCertificateExpired
        );
    });
}

#[test]
fn a_broker_of_another_household_is_not_trusted_whatever_its_dates() {
    for years in [
        ALWAYS,
        Years {
            from: 2090,
            to: 9999,
        },
    ] {
        let Some(broker) = Mosquitto::start_named(&["127.0.0.1"], years) else {
            return;
        };
        run(async {
            let mut settings = owner(&broker);
            settings.credentials.ca_pem = Household::new().ca_pem();
            let mut link = MqttLink::start(settings).expect("settings");
            let (reason, _) = disconnected(&mut link).await;
            assert_eq!(reason, Disconnect::BrokerNotTrusted);
            assert_eq!(
                reason.to_string(),
                "the broker's certificate was not issued by this household's CA"
            );
        });
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_whatever_its_dates() {
    for years in [
        ALWAYS,
        Years {
            from: 2090,
            to: 9999,
        },
    ] {
        let Some(broker) = Mosquitto::start_named(&["broker.example"], years) else {
            return;
        };
        run(async {
            let mut link = MqttLink::start(owner(&broker)).expect("settings");
            assert_eq!(
                disconnected(&mut link).await.0,
                Disconnect::BrokerNameMismatch
            );
        });
    }
}

#[test]
fn a_name_that_does_not_resolve_is_named_as_the_reason() {
    let household = Household::new();
    run(async {
        let mut settings = settings(
            ([127, 0, 0, 1], 1).into(),
            &household.ca_pem(),
            &household.client(OWNER),
        );
        // RFC 6761 §6.4: never resolves.
        settings.endpoint.host = "broker.invalid".to_owned();
        let mut link = MqttLink::start(settings).expect("settings");
        assert_eq!(disconnected(&mut link).await.0, Disconnect::NameNotFound);
    });
}

#[test]
fn wrong_settings_are_told_before_anything_is_sent_and_never_quote_the_key() {
    let household = Household::new();
    let identity = household.client(OWNER);
    let good = settings(([127, 0, 0, 1], 1).into(), &household.ca_pem(), &identity);
    let with = |change: fn(&mut LinkSettings)| {
        let mut settings = good.clone();
        change(&mut settings);
        run(async { MqttLink::start(settings).expect_err("refused").to_string() })
    };
    for (change, expected) in [
        (
            (|it| it.credentials.ca_pem.clear()) as fn(&mut LinkSettings),
            "the household CA certificate cannot be used",
        ),
        (
            |it| it.credentials.certificate_pem = "junk".into(),
            "the client certificate cannot be used",
        ),
        (
            |it| it.credentials.key_pem = "marked-secret".to_owned().into(),
            "the private key",
        ),
        (|it| it.client_id.clear(), "client id"),
        (|it| it.keep_alive = Duration::from_secs(1), "keep_alive"),
        (|it| it.subscriptions = vec!["a/#/b".into()], "a/#/b"),
    ] {
        let error = with(change);
        assert!(
            error.contains(expected) && !error.contains("marked-secret"),
            "{error}"
        );
    }
    let other = household.client("other").key_pem;
    let mut mismatched = good.clone();
    mismatched.credentials.key_pem = other.into();
    run(async { MqttLink::start(mismatched).expect_err("a key of another certificate") });
    assert!(
        !format!("{good:?}").contains("BEGIN"),
        "debug output shows no PEM"
    );
}
