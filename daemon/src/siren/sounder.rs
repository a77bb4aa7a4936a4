//! The siren's loop: from an intent to sound and back to silence; it must not end a sound because something other than its deadline or its intent did.

use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_hal::capability::attention::Attention;
use homing_hal::capability::siren::{SirenOutput, SoundCard};
use homing_hal::fault::Fault;

use super::BLOCK;
use super::calls::{CallPatience, CallWatch, OpenCalls};
use super::intent::{self, Found, Intent};
use super::mixer::Memory;
use super::report::{DEADLINE, INTERRUPTED, Phase, Report, STOPPED};
use super::rhythm::{self, Rhythm};
use super::sweep::Sweep;
use super::wake::Wake;
use crate::boottime;
use crate::error::Error;
use crate::notify;
use crate::signal::Signal;

/// How often the loudness is asserted. Half of the promised second, so that a hand on the volume key is
/// heard for less than that.
const ASSERT_EVERY: Duration = Duration::from_millis(500);
/// The first pause after the sound card failed; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries at the sound card.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often, [`FIRST_PAUSE`] apart, a silent siren tries to put back what a dead one left loud, before it ends or waits:
/// two seconds, in which a dead siren's hold on the card is gone.
const OWED_TRIES: u32 = 20;

/// Why the siren does not sound while somebody speaks.
const CALL: &str = "somebody speaks on the phone";
/// How often a siren that is silent for a call looks whether that is over.
const CALL_PAUSE: Duration = Duration::from_millis(250);

/// Whether the siren waits for the next intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// End when no intent is left; a path unit starts the next siren.
    OneShot,
    /// Wait for the next intent.
    Resident,
}

/// Why [`Sounder::serve`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No intent is left, and nobody asked to wait.
    Idle,
    /// SIGTERM or SIGINT.
    Told,
    /// SIGHUP, and the siren is silent.
    Reload,
}

/// Why one sound ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    Deadline,
    Withdrawn,
    Told,
}

/// The siren of one phone.
pub struct Sounder<'a> {
    card: &'a mut dyn SoundCard,
    rhythm: Rhythm,
    calls: Option<OpenCalls>,
    call_patience: CallPatience,
    wake: &'a mut Wake,
    folder: PathBuf,
    boot_id: String,
    longest: Duration,
    /// The last intent that was served or refused: should its file be impossible to remove, it is not served again.
    spent: Option<Found>,
    reload_due: bool,
}

/// One sound in progress.
struct Sound {
    intent: Intent,
    output: Option<(Box<dyn SirenOutput>, Sweep)>,
    block: Vec<i16>,
    /// When the loudness was last asserted, since boot.
    asserted: Duration,
    /// Not before this, since boot, is the card tried again.
    next_try: Duration,
    pause: Duration,
    /// How long calls have silenced it so far.
    silenced: Duration,
    /// What the report file says, to write it on changes only.
    reported: Option<News>,
    /// What others can do against it: once said it stays said for this sound.
    warning: Option<String>,
}

/// What changes in a report: phase, reason, warning.
type News = (Phase, Option<String>, Option<String>);

impl Sound {
    fn new(intent: Intent) -> Self {
        Self {
            intent,
            output: None,
            block: Vec::new(),
            asserted: Duration::ZERO,
            next_try: Duration::ZERO,
            pause: FIRST_PAUSE,
            silenced: Duration::ZERO,
            reported: None,
            warning: None,
        }
    }

    /// Keeps which controls others can turn. Three names will do: a report is read with a bound.
    fn warn(&mut self, unlocked: &[String]) {
        if unlocked.is_empty() {
            return;
        }
        let named = unlocked.iter().take(3).cloned().collect::<Vec<_>>();
        let more = match unlocked.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.warning = Some(format!(
            "another program holds {}{more} and can mute the siren by it",
            named.join(", ")
        ));
    }
}

impl<'a> Sounder<'a> {
    /// A siren on `card` that serves the intent in `folder` during the boot `boot_id`, for at most `longest` each.
    pub fn new(
        card: &'a mut dyn SoundCard,
        wake: &'a mut Wake,
        folder: PathBuf,
        boot_id: String,
        longest: Duration,
    ) -> Self {
        Self {
            card,
            rhythm: Rhythm::default(),
            calls: None,
            call_patience: CallPatience::default(),
            wake,
            folder,
            boot_id,
            longest,
            spent: None,
            reload_due: false,
        }
    }

    /// The same, with what draws hands and eyes while it sounds.
    #[must_use]
    pub fn with_attention(mut self, attention: Vec<Box<dyn Attention>>) -> Self {
        self.rhythm = Rhythm::new(attention);
        self
    }

    /// The same, silent while somebody speaks on the phone; for so long, and not longer.
    #[must_use]
    pub fn with_calls(mut self, calls: OpenCalls, patience: CallPatience) -> Self {
        self.calls = Some(calls);
        self.call_patience = patience;
        self
    }

    /// Serves intents until the process is told otherwise or, one-shot, none is left.
    ///
    /// # Errors
    /// The siren's folder can no longer be read or watched while it is silent. While it sounds such
    /// faults are logged and the sound goes on to its deadline.
    pub fn serve(&mut self, residence: Residence) -> Result<End, Error> {
        let mut patience = OWED_TRIES;
        loop {
            self.wake.forget_changes()?;
            // The folder before the signals: an order given after a SIGHUP is judged by the configuration it asked for.
            let found = intent::load(&self.folder)?;
            if self.told() {
                return Ok(End::Told);
            }
            if self.reload_due {
                return Ok(End::Reload);
            }
            if let Some(intent) = self.due(found)? {
                if self.sound(intent)? == Silence::Told {
                    return Ok(End::Told);
                }
                patience = OWED_TRIES;
            } else if self.put_mixer_back().is_err() && patience > 0 {
                patience -= 1;
                self.wake.wait(Some(FIRST_PAUSE))?;
            } else if residence == Residence::OneShot {
                return Ok(End::Idle);
            } else {
                notify::status("silent, waiting for an order");
                notify::alive();
                self.wake.wait(notify::watchdog_interval())?;
            }
        }
    }

    /// The intent to serve now; one that orders nothing is reported and put away.
    fn due(&mut self, found: Found) -> Result<Option<Intent>, Error> {
        if found == Found::Nothing || self.spent.as_ref() == Some(&found) {
            return Ok(None);
        }
        let (command, reason) = match &found {
            Found::Nothing => return Ok(None),
            Found::Unreadable(reason) => (None, reason.clone()),
            Found::Intent(intent) => {
                match intent.remaining(&self.boot_id, boottime::now()?, self.longest) {
                    Ok(_) => return Ok(Some(intent.clone())),
                    Err(reason) => (Some(intent.command.clone()), reason),
                }
            }
        };
        tracing::warn!(%reason, "an intent is put away unserved");
        let phase = if reason == DEADLINE {
            Phase::Ended
        } else {
            Phase::Failed
        };
        self.report(command, (phase, Some(reason), None));
        self.put_away(found);
        Ok(None)
    }

    /// Sounds from now to the deadline, whatever happens to the card meanwhile.
    fn sound(&mut self, intent: Intent) -> Result<Silence, Error> {
        notify::status("sounding");
        tracing::info!(command = %intent.command, "the siren begins");
        let mut sound = Sound::new(intent);
        let calls = CallWatch::begin(self.calls.as_ref(), self.call_patience.first_answer);
        let silence = loop {
            notify::alive();
            if self.told() {
                break Silence::Told;
            }
            let now = boottime::now()?;
            let left = sound.intent.deadline().saturating_sub(now);
            if left.is_zero() {
                break Silence::Deadline;
            }
            if self.follow(&mut sound, now) == Some(Silence::Withdrawn) {
                break Silence::Withdrawn;
            }
            if calls.ongoing() && sound.silenced < self.call_patience.silence {
                self.yield_to_call(&mut sound, now, left)?;
                continue;
            }
            if let Err(fault) = self.step(&mut sound, now, left)? {
                self.fail(&mut sound, now, &fault);
            }
            // After the sound, which nothing may delay.
            let memory = memory(&self.folder, &self.boot_id, rhythm::DRIVER);
            self.rhythm.beat(memory, now);
        };
        self.fall_silent(sound, silence);
        Ok(silence)
    }

    /// Looks whether the intent still stands; a newer one takes over the sound in progress.
    fn follow(&mut self, sound: &mut Sound, now: Duration) -> Option<Silence> {
        match intent::load(&self.folder) {
            Ok(Found::Nothing) => Some(Silence::Withdrawn),
            Ok(Found::Intent(newer)) if newer != sound.intent => {
                if newer.remaining(&self.boot_id, now, self.longest).is_ok() {
                    tracing::info!(command = %newer.command, "a newer order takes over");
                    sound.intent = newer;
                    sound.reported = None;
                    None
                } else {
                    // The order being served is no longer there; `due` says what is wrong with the new one.
                    Some(Silence::Withdrawn)
                }
            }
            Ok(Found::Intent(_)) => None,
            // In doubt the phone is to be found: only a clear end is an end.
            Ok(Found::Unreadable(reason)) => {
                tracing::debug!(%reason, "the siren goes on");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "the siren goes on");
                None
            }
        }
    }

    /// One block of sound, or, without a card, one try or one pause.
    fn step(
        &mut self,
        sound: &mut Sound,
        now: Duration,
        left: Duration,
    ) -> Result<Result<(), Fault>, Error> {
        if sound.output.is_none() {
            if now < sound.next_try {
                return self.rest(left.min(sound.next_try - now)).map(Ok);
            }
            match self.card.open() {
                Ok(mut output) => {
                    self.memory().remember(output.as_mut());
                    let sweep = Sweep::new(output.sample_rate());
                    sound.output = Some((output, sweep));
                    sound.asserted = Duration::ZERO;
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
        let played = play(sound, now, left);
        if played.is_ok() {
            sound.pause = FIRST_PAUSE;
            self.report_once(sound, Phase::Sounding, None);
        }
        Ok(played)
    }

    /// Gives the loudspeaker back for as long as somebody speaks; the order stands.
    fn yield_to_call(
        &mut self,
        sound: &mut Sound,
        now: Duration,
        left: Duration,
    ) -> Result<(), Error> {
        if let Some((output, _)) = sound.output.take() {
            self.give_back(output);
        }
        self.rhythm
            .end(memory(&self.folder, &self.boot_id, rhythm::DRIVER));
        self.report_once(sound, Phase::Failed, Some(CALL));
        sound.next_try = now;
        self.rest(left.min(CALL_PAUSE))?;
        sound.silenced += boottime::now()?.saturating_sub(now);
        Ok(())
    }

    /// Waits for news, at most so long.
    fn rest(&mut self, patience: Duration) -> Result<(), Error> {
        self.wake.wait(Some(patience))?;
        // A folder that is gone would keep the wait from waiting; the sound matters more.
        if self.wake.forget_changes().is_err() {
            self.wake.ignore_folder();
        }
        Ok(())
    }

    /// Gives up the card for now and says so.
    fn fail(&mut self, sound: &mut Sound, now: Duration, fault: &Fault) {
        if let Some((output, _)) = sound.output.take() {
            self.give_back(output);
        }
        self.report_once(sound, Phase::Failed, Some(&fault.to_string()));
        sound.next_try = now + sound.pause;
        sound.pause = (sound.pause * 2).min(LONGEST_PAUSE);
    }

    /// Silence, the mixer as it was, the report, and the served intent put away, in this order.
    fn fall_silent(&mut self, mut sound: Sound, silence: Silence) {
        if let Some((output, _)) = sound.output.take() {
            self.give_back(output);
        }
        let memory = memory(&self.folder, &self.boot_id, rhythm::DRIVER);
        self.rhythm.end(memory);
        let (phase, reason) = match silence {
            Silence::Deadline => (Phase::Ended, DEADLINE),
            Silence::Withdrawn => (Phase::Ended, STOPPED),
            Silence::Told => (Phase::Failed, INTERRUPTED),
        };
        tracing::info!(command = %sound.intent.command, reason, "the siren is silent");
        let news = (phase, Some(reason.to_owned()), sound.warning.take());
        self.report(Some(sound.intent.command.clone()), news);
        // An interrupted order stays: the next start of this process carries it on.
        if silence == Silence::Deadline {
            self.put_away(Found::Intent(sound.intent));
        }
    }

    /// Gives the card back with the user's mixer; while that fails the mixer stays remembered.
    fn give_back(&self, output: Box<dyn SirenOutput>) {
        let card = output.found().map(|found| found.card);
        match (output.release(), card) {
            (Ok(()), Some(card)) => self.memory().forget(&card),
            (Ok(()), None) => {}
            (Err(fault), _) => tracing::warn!(%fault, "the mixer is not yet as the user had it"),
        }
    }

    fn memory(&self) -> Memory<'_> {
        memory(&self.folder, &self.boot_id, self.card.name())
    }

    /// A siren that was killed while it sounded, and whose order is over, has left the mixer loud.
    ///
    /// # Errors
    /// The last card that could not be put back; its mixer stays remembered.
    fn put_mixer_back(&mut self) -> Result<(), Fault> {
        let turned_on = memory(&self.folder, &self.boot_id, rhythm::DRIVER);
        self.rhythm.put_back(turned_on);
        let mut all = Ok(());
        for owed in self.memory().owed() {
            match self.card.put_back(&owed.mixer) {
                Ok(()) => owed.forget(),
                Err(fault) => {
                    tracing::warn!(%fault, "the mixer stays loud for now");
                    all = Err(fault);
                }
            }
        }
        all
    }

    fn report_once(&self, sound: &mut Sound, phase: Phase, reason: Option<&str>) {
        let news = (phase, reason.map(str::to_owned), sound.warning.clone());
        if sound.reported.as_ref() == Some(&news) {
            return;
        }
        if let Some(reason) = reason {
            tracing::warn!(reason, "the siren cannot sound and tries again");
        }
        if let Some(warning) = &sound.warning {
            tracing::warn!(warning, "the siren sounds, and can be muted");
        }
        self.report(Some(sound.intent.command.clone()), news.clone());
        sound.reported = Some(news);
    }

    /// Writes the report; a full disk must not silence the siren, so a failure is only logged.
    fn report(&self, command: Option<String>, (phase, reason, warning): News) {
        let written = boottime::now_ms().and_then(|boottime_ms| {
            Report {
                command,
                phase,
                reason,
                warning,
                boottime_ms,
                pid: std::process::id(),
                started: crate::process::started(std::process::id()).unwrap_or(0),
                boot_id: self.boot_id.clone(),
            }
            .store(&self.folder)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the siren's report is lost");
        }
    }

    fn put_away(&mut self, found: Found) {
        if let Err(error) = intent::discard(&self.folder, &found) {
            tracing::warn!(%error, "a served intent stays in its place");
        }
        self.spent = Some(found);
    }

    /// Whether the process is to end; a reload is kept for the next silence.
    fn told(&mut self) -> bool {
        while let Some(signal) = self.wake.signal() {
            match signal {
                Signal::Stop => return true,
                Signal::Reload => self.reload_due = true,
            }
        }
        false
    }
}

fn memory<'m>(folder: &'m Path, boot_id: &'m str, driver: &'m str) -> Memory<'m> {
    Memory {
        folder,
        boot_id,
        driver,
    }
}

/// Plays one block, no longer than the time left, and asserts the loudness when that is due.
fn play(sound: &mut Sound, now: Duration, left: Duration) -> Result<(), Fault> {
    let due = sound.asserted.is_zero() || now.saturating_sub(sound.asserted) >= ASSERT_EVERY;
    if due && let Some((output, _)) = &mut sound.output {
        output.assert_loud()?;
        let unlocked = output.unlocked().to_vec();
        sound.warn(&unlocked);
        sound.asserted = now;
    }
    let Some((output, sweep)) = &mut sound.output else {
        return Ok(());
    };
    let rate = u128::from(output.sample_rate());
    let samples = usize::try_from(rate * left.min(BLOCK).as_millis() / 1000)
        .unwrap_or(1)
        .max(1);
    sound.block.resize(samples, 0);
    sweep.fill(&mut sound.block);
    output.write(&sound.block)
}
