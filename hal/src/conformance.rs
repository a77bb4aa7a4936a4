//! One suite per capability: what every driver, real or simulated, has to do. It is for tests and panics where a driver breaks its promise; no product code calls it.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use crate::capability::attention::{Attention, Pulse};
use crate::capability::call::{CallState, Calls};
use crate::capability::gate::{Reading, SMALLEST_RADIUS_M, distance_m};
use crate::capability::identity::Identity;
use crate::capability::lockdown::{Lockdown, Standing};
use crate::capability::network::{Network, NetworkEvent};
use crate::capability::panel::{Backlight, Frame, Panel};
use crate::capability::position::{Fix, PositionSource};
use crate::capability::power::Power;
use crate::capability::siren::{LONGEST_MIXER, SoundCard};
use crate::capability::touch::{CaseKey, Input, Phase, Touch};
use crate::fault::{Cancel, Fault, Probe};

/// How late a driver may be beyond its deadline: the scheduling of a loaded build host, not a property of any driver. Less than the shortest limit that a driver has for itself (a scan takes 4 s, a call over D-Bus up to 10).
const GRACE: Duration = Duration::from_secs(3);
/// How long a condition may take to come true there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A working source near `expected` (latitude, longitude in degrees): it is ready, finds the phone within `deadline` with an honest radius, and can be cancelled.
///
/// # Panics
/// Where the driver breaks a promise of [`PositionSource`].
pub fn a_working_position_source(
    source: &mut dyn PositionSource,
    expected: (f64, f64),
    deadline: Duration,
) {
    assert!(
        matches!(source.probe(), Probe::Ready { .. }),
        "{}",
        source.probe()
    );
    let fix = within(deadline, || source.locate(deadline, &Cancel::new()));
    match fix {
        Ok(fix) => is_near(&fix, expected),
        Err(fault) => panic!("{}: {fault}", source.name()),
    }
    let cancel = Cancel::new();
    cancel.cancel();
    let ended = within(Duration::ZERO, || {
        source.locate(Duration::from_secs(60), &cancel)
    });
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
}

/// A source whose receiver has no fix: it says so at the deadline, not before and not much later, and a cancellation ends it earlier.
///
/// # Panics
/// Where the driver breaks a promise of [`PositionSource`].
pub fn a_position_source_without_a_fix(source: &mut dyn PositionSource) {
    let deadline = Duration::from_millis(700);
    let began = Instant::now();
    let ended = within(deadline, || source.locate(deadline, &Cancel::new()));
    assert!(matches!(ended, Err(Fault::TimedOut(_))), "{ended:?}");
    assert!(
        began.elapsed() >= deadline,
        "it gave up after {:?}",
        began.elapsed()
    );

    let cancel = Cancel::new();
    let ended = thread::scope(|scope| {
        let waiting =
            scope.spawn(|| within(deadline, || source.locate(Duration::from_secs(60), &cancel)));
        cancel.cancel();
        waiting.join()
    });
    assert!(matches!(ended, Ok(Err(Fault::Cancelled(_)))), "{ended:?}");
}

/// A source that is not there: its probe says why, and `locate` fails as absent within seconds instead of waiting for a long deadline.
///
/// # Panics
/// Where the driver breaks a promise of [`PositionSource`].
pub fn an_absent_position_source(source: &mut dyn PositionSource) {
    assert!(matches!(source.probe(), Probe::Unsupported { .. }));
    let ended = within(Duration::from_secs(10), || {
        source.locate(Duration::from_secs(90), &Cancel::new())
    });
    assert!(matches!(ended, Err(Fault::Absent(_))), "{ended:?}");
}

/// Whether a fix is as near to the true place (degrees) as its radius promises; twice the radius is allowed, because 5 % of honest fixes lie outside of it.
///
/// # Panics
/// Where it is not.
pub fn is_near(fix: &Fix, (latitude_deg, longitude_deg): (f64, f64)) {
    let reading = |latitude_deg, longitude_deg| Reading {
        at: Duration::ZERO,
        time_unix_ms: None,
        latitude_deg,
        longitude_deg,
        radius_m: None,
        hdop: None,
        satellites: None,
        altitude_m: None,
        speed_m_s: None,
        course_deg: None,
    };
    let found = reading(
        f64::from(fix.position.latitude_e7) / 1e7,
        f64::from(fix.position.longitude_e7) / 1e7,
    );
    let off = distance_m(&found, &reading(latitude_deg, longitude_deg));
    let radius = f64::from(fix.position.accuracy_dm) / 10.0;
    assert!(
        radius >= SMALLEST_RADIUS_M,
        "a radius of {radius} m promises too much"
    );
    assert!(
        off <= 2.0 * radius,
        "{off:.1} m off with a radius of {radius} m"
    );
    assert!(fix.position.time_unix_ms.is_some(), "the fix is not dated");
}

/// A working sound card: it opens, states a rate, plays at the pace of real time, is exclusive while held, and is free after its release and after a drop.
///
/// # Panics
/// Where the driver breaks a promise of [`SoundCard`].
pub fn a_working_sound_card(card: &mut dyn SoundCard) {
    assert!(
        matches!(card.probe(), Probe::Ready { .. }),
        "{}",
        card.probe()
    );
    let mut output = match card.open() {
        Ok(output) => output,
        Err(fault) => panic!("{}: {fault}", card.name()),
    };
    let rate = output.sample_rate();
    assert!(
        (8_000..=192_000).contains(&rate),
        "{rate} Hz is no sample rate of a phone"
    );
    assert_eq!(output.assert_loud(), Ok(()));
    let began = Instant::now();
    let tenth = vec![0; rate as usize / 10];
    for _ in 0..10 {
        assert_eq!(output.write(&tenth), Ok(()));
    }
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(500),
        "a second of sound was taken in {took:?}"
    );
    assert!(
        took <= Duration::from_secs(1) + GRACE,
        "a second of sound took {took:?}"
    );

    assert!(
        matches!(card.open(), Err(Fault::Busy(_))),
        "the loudspeaker was given out twice"
    );
    assert_eq!(output.release(), Ok(()));
    a_dead_sirens_mixer_is_put_back(card);
    eventually("the loudspeaker is free after a drop", || {
        card.open().is_ok()
    });
}

/// A siren that died has left the mixer loud; its successor puts it back, but not under a siren that has the card.
fn a_dead_sirens_mixer_is_put_back(card: &mut dyn SoundCard) {
    let open = |card: &mut dyn SoundCard| match card.open() {
        Ok(output) => output,
        Err(fault) => panic!("{}: it is not free: {fault}", card.name()),
    };
    let mut dying = open(card);
    let Some(found) = dying.found() else { return };
    assert!(!found.card.is_empty() && found.mixer.len() <= LONGEST_MIXER);
    assert_eq!(dying.assert_loud(), Ok(()));
    let taken = card.put_back(&found.mixer);
    assert!(matches!(taken, Err(Fault::Busy(_))), "{taken:?}");
    drop(dying);
    eventually("a dead siren's mixer is put back", || {
        card.put_back(&found.mixer) == Ok(())
    });
    assert_eq!(open(card).found(), Some(found));
    let nonsense = card.put_back("nonsense");
    assert!(matches!(nonsense, Err(Fault::Broken(_))), "{nonsense:?}");
}

/// A vibrator or a torch: ready, begins and ends a pulse, takes the same again, and puts back what it found.
///
/// # Panics
/// Where the driver breaks a promise of [`Attention`].
pub fn a_working_attention(attention: &mut dyn Attention) {
    let probe = attention.probe();
    assert!(matches!(probe, Probe::Ready { .. }), "{probe}");
    let found = attention.found();
    for pulse in [Pulse::Off, Pulse::On, Pulse::On, Pulse::Off, Pulse::Off] {
        let done = within(Duration::ZERO, || attention.pulse(pulse));
        assert_eq!(done, Ok(()), "{}: {pulse:?}", attention.name());
    }
    if let Some(found) = found {
        assert_eq!(attention.put_back(&found.mixer), Ok(()));
        assert_eq!(attention.found(), Some(found));
    }
    let nonsense = attention.put_back("nonsense");
    assert!(matches!(nonsense, Err(Fault::Broken(_))), "{nonsense:?}");
}

/// A list of calls that `begin` and `end` change: it follows, can be asked again and again, and can be cancelled.
///
/// # Panics
/// Where the driver breaks a promise of [`Calls`].
pub fn a_working_list_of_calls(calls: &mut dyn Calls, begin: &dyn Fn(), end: &dyn Fn()) {
    let probe = calls.probe();
    assert!(matches!(probe, Probe::Ready { .. }), "{probe}");
    let deadline = Duration::from_secs(10);
    for _ in 0..2 {
        let steps: [(&dyn Fn(), CallState); 2] =
            [(begin, CallState::Ongoing), (end, CallState::None)];
        for (change, wanted) in steps {
            change();
            let found = within(deadline, || calls.state(deadline, &Cancel::new()));
            assert_eq!(found, Ok(wanted));
        }
    }
    let cancel = Cancel::new();
    cancel.cancel();
    let ended = within(Duration::ZERO, || {
        calls.state(Duration::from_secs(60), &cancel)
    });
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
}

/// A lockdown of a phone that is open: it takes the phone, again and again, gives it back, again and again, and says how it stands.
///
/// # Panics
/// Where the driver breaks a promise of [`Lockdown`].
pub fn a_working_lockdown(lockdown: &mut dyn Lockdown) {
    let probe = lockdown.probe();
    assert!(matches!(probe, Probe::Ready { .. }), "{probe}");
    // Nothing is owed yet.
    assert_eq!(lockdown.leave(), Ok(()));
    assert_eq!(lockdown.standing(), Ok(Standing::Open));
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(lockdown.enter(), Ok(()));
            assert_eq!(lockdown.standing(), Ok(Standing::Locked));
        }
        for _ in 0..2 {
            assert_eq!(lockdown.leave(), Ok(()));
            assert_eq!(lockdown.standing(), Ok(Standing::Open));
        }
    }
}

/// A battery: ready, and in range.
///
/// # Panics
/// Where the driver breaks a promise of [`Power`].
pub fn a_working_battery(power: &mut dyn Power) {
    assert!(
        matches!(power.probe(), Probe::Ready { .. }),
        "{}",
        power.probe()
    );
    match power.battery() {
        Ok(battery) => assert!(battery.percent.is_none_or(|percent| percent <= 100)),
        Err(fault) => panic!("{}: {fault}", power.name()),
    }
}

/// A network: a path to an address, quiet when nothing happens, cancellable, and woken by `change`, which the caller provides where it can change something.
///
/// # Panics
/// Where the driver breaks a promise of [`Network`].
pub fn a_working_network(network: &mut dyn Network, change: Option<&dyn Fn()>) {
    assert!(
        matches!(network.probe(), Probe::Ready { .. }),
        "{}",
        network.probe()
    );
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match network.path_to(address) {
        Ok(path) => assert!(!path.interface.is_empty()),
        Err(fault) => panic!("{}: {fault}", network.name()),
    }
    let short = Duration::from_millis(100);
    // Another program may change the network of a build host meanwhile, so quiet is not asserted.
    let ended = within(short, || network.wait_for_change(short, &Cancel::new()));
    assert!(ended.is_ok(), "{ended:?}");
    if let Some(change) = change {
        change();
        // It happened between two calls and must not be lost.
        let ended = within(Duration::from_secs(5), || {
            network.wait_for_change(Duration::from_secs(60), &Cancel::new())
        });
        assert_eq!(ended, Ok(NetworkEvent::Changed));
    }
    let cancel = Cancel::new();
    cancel.cancel();
    let ended = within(Duration::ZERO, || {
        network.wait_for_change(Duration::from_secs(60), &cancel)
    });
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
}

/// An identity: it names the phone.
///
/// # Panics
/// Where the driver breaks a promise of [`Identity`].
pub fn a_working_identity(identity: &mut dyn Identity) {
    assert!(
        matches!(identity.probe(), Probe::Ready { .. }),
        "{}",
        identity.probe()
    );
    match identity.identity() {
        Ok(found) => assert!(found.model.is_some() || found.system.is_some()),
        Err(fault) => panic!("{}: {fault}", identity.name()),
    }
}

/// A panel that `seen` looks at: it is taken, again too, shows what it is given upright and nothing of another size, goes dark, and is given back.
///
/// # Panics
/// Where the driver breaks a promise of [`Panel`].
pub fn a_working_panel(panel: &mut dyn Panel, seen: &dyn Fn() -> Frame) {
    let probe = panel.probe();
    assert!(matches!(probe, Probe::Ready { .. }), "{probe}");
    let geometry = match panel.take() {
        Ok(geometry) => geometry,
        Err(fault) => panic!("{}: {fault}", panel.name()),
    };
    assert_eq!(
        panel.take(),
        Ok(geometry),
        "a panel is taken again and again"
    );
    assert!(geometry.width_px > 1 && geometry.height_px > 1);
    let (width, height) = (
        usize::from(geometry.width_px),
        usize::from(geometry.height_px),
    );
    let mut frame = Frame {
        width_px: geometry.width_px,
        height_px: geometry.height_px,
        luma: vec![0; width * height],
    };
    // Not the same after any turn or mirroring.
    for (at, luma) in frame.luma.iter_mut().enumerate() {
        let (x, y) = (at % width, at / width);
        *luma = match (x < width / 2, y < height / 4) {
            (true, true) => 255,
            (false, true) => 96,
            _ => 0,
        };
    }
    for _ in 0..2 {
        assert_eq!(panel.light(Backlight::Percent(80)), Ok(()));
        assert_eq!(panel.show(&frame, "a pattern"), Ok(()));
        assert_eq!(seen(), frame, "{}", panel.name());
        assert_eq!(panel.light(Backlight::Off), Ok(()));
    }
    let small = Frame {
        width_px: 1,
        height_px: 1,
        luma: vec![0],
    };
    let refused = panel.show(&small, "");
    assert!(matches!(refused, Err(Fault::Broken(_))), "{refused:?}");
    assert_eq!(panel.release(), Ok(()));
    let late = panel.show(&frame, "late");
    assert!(matches!(late, Err(Fault::Broken(_))), "{late:?}");
}

/// Touch and keys that `tap` (at a place, 0 to 1) and `press` use: each arrives once, in order, where it was; a wait can be cancelled.
///
/// # Panics
/// Where the driver breaks a promise of [`Touch`].
pub fn a_working_touch(touch: &mut dyn Touch, tap: &dyn Fn(f32, f32), press: &dyn Fn(CaseKey)) {
    let probe = touch.probe();
    assert!(matches!(probe, Probe::Ready { .. }), "{probe}");
    for _ in 0..2 {
        assert_eq!(touch.take(), Ok(()));
    }
    for (x, y) in [(0.25, 0.75), (0.9, 0.1), (0.9, 0.1)] {
        tap(x, y);
        for wanted in [Phase::Down, Phase::Up] {
            match within(PATIENCE, || touch.next(&Cancel::new())) {
                Ok(Input::Touch {
                    phase,
                    x: at_x,
                    y: at_y,
                }) => {
                    assert_eq!(phase, wanted);
                    let off = (at_x - x).abs().max((at_y - y).abs());
                    assert!(off < 0.01, "{at_x}, {at_y} instead of {x}, {y}");
                }
                other => panic!("{}: {other:?} instead of a touch", touch.name()),
            }
        }
    }
    for key in [CaseKey::Power, CaseKey::Other, CaseKey::Power] {
        press(key);
        let found = within(PATIENCE, || touch.next(&Cancel::new()));
        assert_eq!(found, Ok(Input::Key(key)));
    }
    let cancel = Cancel::new();
    cancel.cancel();
    let ended = within(Duration::ZERO, || touch.next(&cancel));
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
    assert_eq!(touch.release(), Ok(()));
}

/// Runs `call` and checks that it ended by `deadline` and some grace.
fn within<T>(deadline: Duration, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = call();
    let took = began.elapsed();
    assert!(
        took <= deadline + GRACE,
        "it took {took:?} with a deadline of {deadline:?}"
    );
    value
}

/// Waits for a condition, up to twenty seconds.
///
/// # Panics
/// With `what` when it does not come true.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never happened: {what}");
        let soon = Instant::now() + Duration::from_millis(10);
        assert_eq!(Cancel::new().rest(soon), Ok(()));
    }
}
