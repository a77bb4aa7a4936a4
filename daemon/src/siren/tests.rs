//! Tests of the siren's loop against a sound card that records what it is told and plays at the pace of real time.

mod calls;

use std::collections::VecDeque;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use homing_hal::capability::siren::{FoundMixer, SirenOutput, SoundCard};
use homing_hal::fault::{Cancel, Fault, Probe};
use tempfile::TempDir;

use super::intent::{Found, Intent};
use super::report::{Phase, Report};
use super::*;

const BOOT: &str = "7b0f4a3e-0000-4000-8000-000000000001";
const FIRST: &str = "00112233445566778899aabbccddeeff";
const SECOND: &str = "ffeeddccbbaa99887766554433221100";
/// How long a test waits for what must happen at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much sound may still come after an order to stop, or after the deadline.
const FIFTH: Duration = Duration::from_millis(200);

/// What the sound card was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Open,
    Loud,
    Play { peak: i16, lasting: Duration },
    Release,
    PutBack(String),
}

/// Faults that the card is to show.
#[derive(Default)]
struct Troubles {
    on_open: VecDeque<Fault>,
    on_write: VecDeque<Fault>,
    /// Controls whose lock another program has.
    unlocked: Vec<String>,
}

struct Card {
    told: Sender<Told>,
    troubles: Arc<Mutex<Troubles>>,
}

impl SoundCard for Card {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn probe(&self) -> Probe {
        Probe::Ready {
            detail: "a recorder".into(),
        }
    }

    fn open(&mut self) -> Result<Box<dyn SirenOutput>, Fault> {
        match self.troubles.lock().unwrap().on_open.pop_front() {
            Some(fault) => Err(fault),
            None => {
                drop(self.told.send(Told::Open));
                Ok(Box::new(Output {
                    told: self.told.clone(),
                    troubles: Arc::clone(&self.troubles),
                    unlocked: Vec::new(),
                }))
            }
        }
    }

    fn put_back(&mut self, mixer: &str) -> Result<(), Fault> {
        drop(self.told.send(Told::PutBack(mixer.to_owned())));
        Ok(())
    }
}

struct Output {
    told: Sender<Told>,
    troubles: Arc<Mutex<Troubles>>,
    unlocked: Vec<String>,
}

impl SirenOutput for Output {
    fn sample_rate(&self) -> u32 {
        48_000
    }

    fn write(&mut self, samples: &[i16]) -> Result<(), Fault> {
        if let Some(fault) = self.troubles.lock().unwrap().on_write.pop_front() {
            return Err(fault);
        }
        let peak = samples.iter().copied().max().unwrap_or(0);
        let duration = Duration::from_secs_f64(samples.len() as f64 / 48_000.0);
        Cancel::new().rest(Instant::now() + duration)?;
        drop(self.told.send(Told::Play {
            peak,
            lasting: duration,
        }));
        Ok(())
    }

    fn assert_loud(&mut self) -> Result<(), Fault> {
        self.unlocked = self.troubles.lock().unwrap().unlocked.clone();
        drop(self.told.send(Told::Loud));
        Ok(())
    }

    fn unlocked(&self) -> &[String] {
        &self.unlocked
    }

    fn found(&self) -> Option<FoundMixer> {
        None
    }

    fn take_over(&mut self, _found: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn release(self: Box<Self>) -> Result<(), Fault> {
        drop(self.told.send(Told::Release));
        Ok(())
    }
}

/// A one-shot siren on a recording card in a thread of its own.
struct Siren {
    folder: TempDir,
    told: Receiver<Told>,
    troubles: Arc<Mutex<Troubles>>,
    card: Option<Card>,
    calls: Option<OpenCalls>,
    call_patience: CallPatience,
    thread: Option<JoinHandle<End>>,
}

impl Siren {
    fn new() -> Self {
        let (sender, told) = channel();
        let troubles = Arc::<Mutex<Troubles>>::default();
        let card = Some(Card {
            told: sender,
            troubles: Arc::clone(&troubles),
        });
        Self {
            folder: tempfile::tempdir().unwrap(),
            told,
            troubles,
            card,
            calls: None,
            // The first answer comes at once, also on a crowded machine.
            call_patience: CallPatience {
                first_answer: PATIENCE,
                silence: PATIENCE * 3,
            },
            thread: None,
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn start(&mut self) {
        let (mut card, folder) = (self.card.take().unwrap(), self.folder().to_owned());
        let calls = self.calls.take().unwrap_or_else(|| Box::new(|| None));
        let call_patience = self.call_patience;
        self.thread = Some(std::thread::spawn(move || {
            let mut wake = Wake::new(Signals::install().unwrap());
            wake.watch(&folder).unwrap();
            let longest = Duration::from_secs(60);
            Sounder::new(&mut card, &mut wake, folder, BOOT.into(), longest)
                .with_calls(calls, call_patience)
                .serve(Residence::OneShot)
                .unwrap()
        }));
    }

    fn order(&self, command: &str, lasting: Duration) {
        order_until(self.folder(), command, now() + lasting);
    }

    /// Waits until the card is told this.
    fn hear(&self, mut wanted: impl FnMut(&Told) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !wanted(
            &self
                .told
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .unwrap(),
        ) {}
    }

    /// Waits until the report says this.
    fn read_report(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let watch = crate::folder::FolderWatch::new(self.folder()).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(report) = Report::load(self.folder()).unwrap()
                && wanted(&report)
            {
                return report;
            }
            Cancel::new().wait_readable(watch.as_fd(), until).unwrap();
            watch.drain().unwrap();
        }
    }

    fn end(&mut self) -> End {
        self.thread.take().unwrap().join().unwrap()
    }

    fn report(&self) -> Report {
        Report::load(self.folder()).unwrap().unwrap()
    }
}

fn now() -> Duration {
    crate::boottime::now().unwrap()
}

fn order_until(folder: &Path, command: &str, deadline: Duration) {
    Intent {
        command: command.into(),
        boot_id: BOOT.into(),
        started_boottime_ms: 0,
        deadline_boottime_ms: u64::try_from(deadline.as_millis()).unwrap(),
    }
    .store(folder)
    .unwrap();
}

/// How much sound the card was given.
fn length(told: &Told) -> Duration {
    match told {
        Told::Play { lasting, .. } => *lasting,
        Told::Open | Told::Loud | Told::Release | Told::PutBack(_) => Duration::ZERO,
    }
}

fn is_play(told: &Told) -> bool {
    matches!(told, Told::Play { .. })
}

#[test]
fn it_is_loud_before_the_first_sound_and_silent_at_the_deadline() {
    let mut siren = Siren::new();
    let began = now();
    let deadline = Duration::from_secs(6);
    siren.order(FIRST, deadline);
    siren.start();
    assert_eq!(siren.end(), End::Idle);
    let lasted = now() - began;
    assert!(
        (deadline..deadline + PATIENCE).contains(&lasted),
        "{lasted:?}"
    );
    let told: Vec<Told> = siren.told.try_iter().collect();
    assert_eq!(told[..2], [Told::Open, Told::Loud]);
    assert_eq!(told.last(), Some(&Told::Release));
    assert!(
        told.iter().filter(|told| is_play(told)).count() >= 6,
        "{told:?}"
    );
    // What the card was given plays as long as it says: more of it than fits is sound after the deadline.
    let sounded: Duration = told.iter().map(length).sum();
    assert!(sounded <= deadline + FIFTH, "{sounded:?}");
    assert!(matches!(told[2], Told::Play { peak, .. } if peak > 32_700));
    let report = siren.report();
    assert_eq!(
        (report.phase, report.reason.as_deref()),
        (Phase::Ended, Some("deadline"))
    );
    assert_eq!(report.command.as_deref(), Some(FIRST));
    assert_eq!(intent::load(siren.folder()).unwrap(), Found::Nothing);
}

#[test]
fn it_is_silent_within_a_fifth_of_a_second_once_the_intent_is_withdrawn() {
    let mut siren = Siren::new();
    siren.order(FIRST, PATIENCE);
    siren.start();
    siren.hear(is_play);
    intent::withdraw(siren.folder()).unwrap();
    // By the sound that is still given to the card: a crowded machine has other seconds than a card.
    let before = siren.told.try_iter().count();
    let mut after = Duration::ZERO;
    siren.hear(|told| {
        after += length(told);
        *told == Told::Release
    });
    assert!(after <= FIFTH, "{after:?} after {before} pieces");
    assert_eq!(siren.end(), End::Idle);
    let report = siren.report();
    assert_eq!(
        (report.phase, report.reason.as_deref()),
        (Phase::Ended, Some("stopped"))
    );
}

#[test]
fn loudness_is_asserted_at_least_once_a_second_while_it_sounds() {
    let mut siren = Siren::new();
    siren.order(FIRST, PATIENCE);
    siren.start();
    siren.hear(is_play);
    for _ in 0..3 {
        let mut muted = Duration::ZERO;
        siren.hear(|told| {
            muted += length(told);
            *told == Told::Loud
        });
        assert!(muted < Duration::from_secs(1), "{muted:?} of sound");
    }
    intent::withdraw(siren.folder()).unwrap();
    siren.end();
}

#[test]
fn a_newer_order_takes_over_without_a_pause_in_the_sound() {
    let mut siren = Siren::new();
    siren.order(FIRST, PATIENCE);
    siren.start();
    siren.read_report(|report| {
        report.command.as_deref() == Some(FIRST) && report.phase == Phase::Sounding
    });
    siren.order(SECOND, Duration::from_secs(6));
    siren.read_report(|report| {
        report.command.as_deref() == Some(SECOND) && report.phase == Phase::Sounding
    });
    assert_eq!(siren.end(), End::Idle);
    let told: Vec<Told> = siren.told.try_iter().collect();
    assert_eq!(told.iter().filter(|told| **told == Told::Open).count(), 1);
    assert_eq!(siren.report().reason.as_deref(), Some("deadline"));
}

#[test]
fn a_busy_card_is_reported_and_tried_again_until_it_sounds() {
    let mut siren = Siren::new();
    siren
        .troubles
        .lock()
        .unwrap()
        .on_open
        .extend(vec![Fault::Busy("a call".into()); 1000]);
    siren.order(FIRST, PATIENCE * 2);
    siren.start();
    let failed = siren.read_report(|report| report.phase == Phase::Failed);
    assert_eq!(failed.reason.as_deref(), Some("busy: a call"));
    // Free only now, that the report stands until it was read.
    siren.troubles.lock().unwrap().on_open.clear();
    siren.read_report(|report| report.phase == Phase::Sounding);
    intent::withdraw(siren.folder()).unwrap();
    siren.end();
}

#[test]
fn a_card_that_breaks_while_it_sounds_is_opened_again_and_made_loud_again() {
    let mut siren = Siren::new();
    siren.order(FIRST, PATIENCE);
    siren.start();
    siren.hear(is_play);
    siren
        .troubles
        .lock()
        .unwrap()
        .on_write
        .push_back(Fault::Broken("unplugged".into()));
    siren.hear(|told| *told == Told::Release);
    siren.hear(|told| *told == Told::Open);
    siren.hear(|told| *told == Told::Loud);
    siren.hear(is_play);
    siren.read_report(|report| report.phase == Phase::Sounding);
    intent::withdraw(siren.folder()).unwrap();
    siren.end();
}

#[test]
fn a_card_that_never_works_ends_the_tries_at_the_deadline() {
    let mut siren = Siren::new();
    siren
        .troubles
        .lock()
        .unwrap()
        .on_open
        .extend(vec![Fault::Absent("no card".into()); 1000]);
    siren.order(FIRST, Duration::from_secs(2));
    siren.start();
    assert_eq!(siren.end(), End::Idle);
    assert!(
        siren.troubles.lock().unwrap().on_open.len() > 990,
        "the pauses grow"
    );
    assert_eq!(siren.report().reason.as_deref(), Some("deadline"));
    assert!(siren.told.try_iter().next().is_none());
}

#[test]
fn a_control_that_another_program_holds_is_a_warning_that_stays_in_the_report() {
    let mut siren = Siren::new();
    let names = ["Speaker Playback Switch"; 5];
    siren.troubles.lock().unwrap().unlocked = names.map(str::to_owned).into();
    siren.order(FIRST, PATIENCE);
    siren.start();
    let said = siren.read_report(|report| report.phase == Phase::Sounding);
    let warning = said.warning.unwrap();
    assert!(
        warning.contains("Speaker Playback Switch and 2 more"),
        "{warning}"
    );
    siren.troubles.lock().unwrap().unlocked.clear();
    siren.hear(|told| *told == Told::Loud);
    siren.hear(|told| *told == Told::Loud);
    intent::withdraw(siren.folder()).unwrap();
    siren.end();
    assert_eq!(siren.report().warning, Some(warning));
}

#[test]
fn a_dead_sirens_mixer_is_put_back_without_taking_the_loudspeaker() {
    let mut siren = Siren::new();
    let owed = format!(r#"{{"boot_id":"{BOOT}","driver":"recorder","found":"quiet"}}"#);
    let path = siren.folder().join("mixer-Card.json");
    fs::write(&path, owed).unwrap();
    siren.start();
    assert_eq!(siren.end(), End::Idle);
    let told: Vec<Told> = siren.told.try_iter().collect();
    assert_eq!(told, [Told::PutBack("quiet".into())]);
    assert!(!path.exists());
}

#[test]
fn an_order_of_another_boot_is_reported_and_put_away_without_a_sound() {
    let mut siren = Siren::new();
    let stale = Intent {
        command: FIRST.into(),
        boot_id: "another".into(),
        started_boottime_ms: 0,
        deadline_boottime_ms: u64::MAX,
    };
    stale.store(siren.folder()).unwrap();
    siren.start();
    assert_eq!(siren.end(), End::Idle);
    assert!(siren.told.try_iter().next().is_none());
    assert_eq!(siren.report().phase, Phase::Failed);
    assert_eq!(intent::load(siren.folder()).unwrap(), Found::Nothing);
}

#[test]
fn a_damaged_intent_is_reported_and_put_away_without_a_sound() {
    let mut siren = Siren::new();
    fs::write(siren.folder().join("intent.json"), "{\"command\":").unwrap();
    siren.start();
    assert_eq!(siren.end(), End::Idle);
    assert_eq!(
        (siren.report().command, siren.report().phase),
        (None, Phase::Failed)
    );
    assert_eq!(intent::load(siren.folder()).unwrap(), Found::Nothing);
}

#[test]
fn a_report_that_cannot_be_written_does_not_silence_the_siren() {
    let mut siren = Siren::new();
    // A folder in its place cannot be replaced by a file.
    fs::create_dir(siren.folder().join("state.json")).unwrap();
    siren.order(FIRST, PATIENCE);
    siren.start();
    siren.hear(is_play);
    siren.hear(is_play);
    intent::withdraw(siren.folder()).unwrap();
    assert_eq!(siren.end(), End::Idle);
}

#[test]
fn the_siren_makes_its_folder_but_not_the_state_directory() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("state");
    let error = prepare_folder(&missing).unwrap_err().to_string();
    assert!(
        error.contains("cannot use the folder") && error.contains("state"),
        "{error}"
    );
    assert!(!missing.exists());
    fs::create_dir(&missing).unwrap();
    assert_eq!(prepare_folder(&missing).unwrap(), missing.join("siren"));
    assert_eq!(prepare_folder(&missing).unwrap(), missing.join("siren"));
}

#[test]
fn a_faulty_configuration_of_the_system_leaves_the_siren_its_built_in_one() {
    let faulty = || Err(Error::Config(Vec::new()));
    let (loaded, fault) = super::in_doubt(&Source::default(), faulty()).unwrap();
    assert!(loaded.files.is_empty() && fault.is_some());
    let named = Source {
        named: Some("homingd.toml".into()),
        ..Source::default()
    };
    assert!(super::in_doubt(&named, faulty()).is_err());
}
