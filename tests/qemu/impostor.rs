//! A program of another user in gpsd's place, under a booted systemd: it says what gpsd would, from another place, and is not believed.

use crate::finding::is_at_the_receiver;
use crate::household::Home;
use e2e::{GUEST_PATIENCE, Guest, PHONE, SerialReceiver, wait_until};

/// Where it says that the phone is, degrees.
const LATITUDE_DEG: f64 = 48.137_15;
/// gpsd's protocol as gpsd 3.22 speaks it, by what every Debian has: perl-base.
const PROGRAM: &str = r#"use strict; use IO::Socket::INET; use POSIX qw(strftime);
$SIG{CHLD} = "IGNORE"; $SIG{PIPE} = sub { exit };
my $door = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 2947, Listen => 5, ReuseAddr => 1) or die $!;
while (my $guest = $door->accept) {
    if (fork) { close $guest; next }
    $guest->autoflush(1);
    my $say = sub { print $guest "$_[0]\r\n" or exit };
    $say->(q({"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}));
    my $asked = <$guest> // exit;
    $say->(q({"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyS0","driver":"NMEA0183","activated":"2026-01-01T00:00:00.000Z"}]}));
    $say->(q({"class":"WATCH","enable":true,"json":true}));
    while (1) {
        my $now = strftime("%Y-%m-%dT%H:%M:%S.000Z", gmtime);
        $say->(qq({"class":"TPV","device":"/dev/ttyS0","mode":3,"time":"$now","lat":48.13715,"lon":11.5755,"altHAE":520.0,"epx":4.0,"epy":4.0,"epv":9.0,"eph":6.0,"track":0.0,"speed":0.0}));
        sleep 1;
    }
}
"#;

/// Stops gpsd, lets another user's program take its port, and asks for the position: no false place, and the reason is told. Then
/// the same program as gpsd's own user, which shows that it would be believed, and gpsd itself again.
#[track_caller]
pub(crate) fn is_not_believed(home: &mut Home) {
    let _ = home
        .guest()
        .run("systemctl stop gpsd.socket gpsd.service")
        .expect_success();
    stand_in(home.guest(), "nobody");
    let order = home.order_position();
    assert_eq!(home.wait_end(&order), "failed");
    let why = home.told_of(&order);
    assert!(
        why.contains("nobody") && why.contains("not believed"),
        "{why}"
    );
    is_at_the_receiver(&home.ask(&["locate", PHONE, "--last"]));
    let said = home.guest().run("homingd doctor 2>&1").text;
    assert!(said.contains("not believed"), "{said}");

    stand_in(home.guest(), "gpsd");
    is_found_near(home, LATITUDE_DEG);
    end(home.guest());
    let _ = home
        .guest()
        .run("systemctl start gpsd.socket")
        .expect_success();
    is_found_near(home, SerialReceiver::LATITUDE_DEG);
}

/// The program as this user, in the place of any that ran before; returns once it listens.
#[track_caller]
fn stand_in(guest: &mut Guest, user: &str) {
    end(guest);
    let path = "/run/stand-in.pl";
    let there = guest.run(&format!("[ -e {path} ]")).code == 0;
    if !there {
        // The shell that is typed into takes a document line by line.
        let _ = guest
            .run(&format!("cat >{path} <<'END OF IT'\n{PROGRAM}END OF IT"))
            .expect_success();
    }
    let _ = guest
        .run(&format!(
            "runuser -u {user} -- perl {path} </dev/null >/run/stand-in.log 2>&1 &"
        ))
        .expect_success();
    wait_until(GUEST_PATIENCE, "somebody to listen in gpsd's place", || {
        (guest.run(LISTENS).code == 0).then_some(())
    });
}

/// Port 2947 in the kernel's table of listening sockets.
const LISTENS: &str = "grep -q '^ *[0-9]*: 0100007F:0B83 00000000:0000 0A ' /proc/net/tcp";

#[track_caller]
fn end(guest: &mut Guest) {
    let _ = guest.run("pkill -f '^perl /run/stand-in.pl'; true");
    wait_until(GUEST_PATIENCE, "gpsd's place to be free", || {
        (guest.run(LISTENS).code != 0).then_some(())
    });
}

#[track_caller]
fn is_found_near(home: &mut Home, latitude: f64) {
    let order = home.order_position();
    assert_eq!(home.wait_end(&order), "done");
    wait_until(GUEST_PATIENCE, "the position", || {
        let known = home.ask(&["locate", PHONE, "--last"]);
        is_near(&known["latitude"], latitude).then_some(())
    });
}

fn is_near(degrees: &serde_json::Value, truth: f64) -> bool {
    degrees
        .as_f64()
        .is_some_and(|found| (found - truth).abs() < 1e-3)
}
