//! The race of sources in simulated time, and once in real time with threads; it must not need a receiver.

use super::*;
use crate::fault::Probe;
use homing_protocol::measure::Position;

const DEADLINE: Duration = Duration::from_secs(90);

fn fix(source: Kind, radius_m: u32) -> Fix {
    Fix {
        satellites: None,
        position: Position {
            time_unix_ms: None,
            latitude_e7: 525_000_000,
            longitude_e7: 134_000_000,
            accuracy_dm: radius_m * 10,
            altitude_dm: None,
            speed_cm_s: None,
            course_cdeg: None,
            source,
            age_s: 0,
        },
    }
}

/// What a source does: after so many seconds of its own time, this; with nothing to say it ends at the deadline.
type Script = (Turn, u64, Result<Fix, Fault>);

/// Plays a whole search second by second; the answer and the second in which it came.
fn play(scripts: &[Script]) -> (u64, Result<Fix, Fault>) {
    play_with(scripts, false)
}

fn play_with(scripts: &[Script], is_idle: bool) -> (u64, Result<Fix, Fault>) {
    let mut race = Race::new(scripts.iter().map(|(turn, ..)| *turn), DEADLINE);
    let mut running: Vec<(usize, u64)> = Vec::new();
    for second in 0..=DEADLINE.as_secs() {
        for (index, began) in std::mem::take(&mut running) {
            let (_, takes, found) = &scripts[index];
            if second >= (began + takes).min(DEADLINE.as_secs()) {
                race.ended(index, found.clone());
            } else {
                running.push((index, began));
            }
        }
        // A source that ends makes room for others within the same second.
        for _ in 0..scripts.len() {
            let due = race.due(Duration::from_secs(second), |_| is_idle);
            running.extend(due.into_iter().map(|index| (index, second)));
        }
        if let Some(answer) = race.answer(Duration::from_secs(second)) {
            return (second, answer);
        }
    }
    panic!("no answer within the time");
}

fn absent() -> Result<Fix, Fault> {
    Err(Fault::Absent("nobody".into()))
}

fn no_fix() -> Result<Fix, Fault> {
    Err(Fault::TimedOut("no fix".into()))
}

#[test]
fn outdoors_the_first_receiver_with_a_fix_answers_and_nobody_is_asked_what_is_around() {
    let fixed = Ok(fix(Kind::Gnss, 10));
    let around = Ok(fix(Kind::Wifi, 30));
    let answer = play(&[
        (Turn::AtOnce, 90, no_fix()),
        (Turn::AtOnce, 5, absent()),
        (Turn::AtOnce, 28, fixed.clone()),
        (Turn::Last, 0, around),
    ]);
    assert_eq!(answer, (28, fixed));
}

#[test]
fn indoors_an_answer_with_source_and_radius_comes_within_90_seconds() {
    let around = Ok(fix(Kind::Wifi, 30));
    let (second, answer) = play(&[
        (Turn::AtOnce, 90, no_fix()),
        (Turn::AtOnce, 5, absent()),
        (Turn::WhereOthersAreAbsent, 90, no_fix()),
        (Turn::Last, 12, around.clone()),
    ]);
    assert_eq!(answer, around);
    assert!(second <= 90, "after {second} s");
    // Where no receiver is there at all, the scan has not to wait for one.
    let answer = play(&[
        (Turn::AtOnceForAll, 5, absent()),
        (Turn::WhereOthersAreAbsent, 5, absent()),
        (Turn::Last, 12, around.clone()),
    ]);
    assert_eq!(answer, (22, around));
}

#[test]
fn a_late_fix_is_better_than_what_is_around_and_a_doubtful_one_only_where_its_radius_is_smaller() {
    let around = Ok(fix(Kind::Wifi, 30));
    let fixed = Ok(fix(Kind::Gnss, 10));
    let script = |second, fixed: &Result<Fix, Fault>| {
        play(&[
            (Turn::AtOnce, second, fixed.clone()),
            (Turn::Last, 1, around.clone()),
        ])
    };
    assert_eq!(script(80, &fixed), (80, fixed.clone()));
    let doubtful = Ok(fix(Kind::Gnss, 400));
    assert_eq!(script(90, &doubtful), (90, around.clone()));
    assert_eq!(script(90, &fixed), (90, fixed));
}

#[test]
fn a_receiver_is_not_taken_from_a_program_that_has_it() {
    let direct = Ok(fix(Kind::Gnss, 10));
    let script = |first: Result<Fix, Fault>| {
        play(&[
            (Turn::AtOnceForAll, 5, first),
            (Turn::AtOnceForAll, 5, absent()),
            (Turn::WhereOthersAreAbsent, 3, direct.clone()),
        ])
    };
    assert_eq!(script(absent()), (8, direct.clone()));
    assert_eq!(script(no_fix()), (5, no_fix()));
    let denied = Err(Fault::Denied("no".into()));
    assert_eq!(script(denied.clone()), (5, denied));
}

#[test]
fn the_kernels_receiver_is_held_back_by_its_keepers_alone_and_only_while_they_use_it() {
    let direct = Ok(fix(Kind::Gnss, 10));
    let script = |turn, is_idle| {
        let script = [
            (turn, 90, no_fix()),
            (Turn::WhereOthersAreAbsent, 3, direct.clone()),
        ];
        play_with(&script, is_idle)
    };
    assert_eq!(script(Turn::AtOnce, false), (3, direct.clone()));
    assert_eq!(script(Turn::AtOnceForAll, true), (33, direct.clone()));
    assert_eq!(script(Turn::AtOnceForAll, false), (90, no_fix()));
}

#[test]
fn a_source_that_outstays_the_deadline_is_not_waited_for() {
    let around = Ok(fix(Kind::Wifi, 30));
    let mut race = Race::new([Turn::AtOnce, Turn::Last].into_iter(), DEADLINE);
    assert_eq!(race.due(DEADLINE / 3, |_| false), [0, 1]);
    let over = DEADLINE + GRACE;
    assert!(matches!(race.answer(over), Some(Err(Fault::TimedOut(_)))));
    race.ended(1, around.clone());
    assert_eq!(race.answer(DEADLINE), None);
    assert_eq!(race.next(DEADLINE), over);
    assert_eq!(race.answer(over), Some(around));
}

#[test]
fn of_several_faults_the_one_that_says_most_is_the_answer() {
    let (_, answer) = play(&[(Turn::AtOnce, 5, absent()), (Turn::AtOnce, 90, no_fix())]);
    assert_eq!(answer, no_fix());
    let nobody = locate(Vec::new(), DEADLINE, &Cancel::new());
    assert!(matches!(nobody, Err(Fault::Absent(_))), "{nobody:?}");
}

/// A source that waits until it is ended, or answers at once.
struct Source(Option<Result<Fix, Fault>>);

impl PositionSource for Source {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn probe(&self) -> Probe {
        Probe::Ready {
            detail: String::new(),
        }
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        match &self.0 {
            Some(answer) => answer.clone(),
            None => {
                cancel.rest(Instant::now() + deadline)?;
                no_fix()
            }
        }
    }
}

fn sources(all: [Option<Result<Fix, Fault>>; 3]) -> Vec<Box<dyn PositionSource>> {
    let boxed = |answer| Box::new(Source(answer)) as Box<dyn PositionSource>;
    all.map(boxed).into()
}

#[test]
fn a_fix_and_a_cancellation_end_every_source_at_once() {
    let fixed = Ok(fix(Kind::Gnss, 10));
    let three = sources([None, Some(fixed.clone()), None]);
    assert_eq!(locate(three, DEADLINE, &Cancel::new()), fixed);
    let cancel = Cancel::new();
    let three = sources([None, Some(absent()), None]);
    let watched = cancel.clone();
    let search = thread::spawn(move || locate(three, DEADLINE, &watched));
    cancel.cancel();
    let ended = search.join().unwrap();
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
}

#[test]
fn at_the_deadline_every_source_has_said_its_word() {
    let around = Ok(fix(Kind::Cell, 900));
    let three = sources([None, Some(around.clone()), None]);
    let began = Instant::now();
    // Long enough for the one that answers at once, wherever its thread waits for a processor.
    let deadline = Duration::from_secs(5);
    assert_eq!(locate(three, deadline, &Cancel::new()), around);
    assert!(began.elapsed() >= deadline);
}

/// A source that looks neither at its deadline nor at anybody's wish to end it, until the test drops its end.
struct Deaf(std::sync::mpsc::Receiver<()>);

impl PositionSource for Deaf {
    fn name(&self) -> &'static str {
        "deaf"
    }

    fn probe(&self) -> Probe {
        Probe::Ready {
            detail: String::new(),
        }
    }

    fn locate(&mut self, _: Duration, _: &Cancel) -> Result<Fix, Fault> {
        let _ = self.0.recv();
        no_fix()
    }
}

#[test]
fn a_source_that_never_ends_keeps_no_answer_back() {
    let fixed = Ok(fix(Kind::Gnss, 10));
    let (end, ended) = channel();
    let both: Vec<Box<dyn PositionSource>> =
        vec![Box::new(Deaf(ended)), Box::new(Source(Some(fixed.clone())))];
    // Returns at all: the deaf one ends with this test.
    assert_eq!(locate(both, DEADLINE, &Cancel::new()), fixed);
    let (_alone, silent) = channel();
    let alone: Vec<Box<dyn PositionSource>> = vec![Box::new(Deaf(silent))];
    let found = locate(alone, Duration::from_millis(300), &Cancel::new());
    assert!(matches!(found, Err(Fault::TimedOut(_))), "{found:?}");
    drop(end);
}
