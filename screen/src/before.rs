//! The message of a lost phone before its disk's passphrase is asked for: the same picture, until somebody touches it or the time is over. It takes no code and asks nobody; whatever is wrong with the file, the panel or the hands, the start goes on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use homing_hal::capability::call::Ring;
use homing_hal::capability::panel::{Backlight, Geometry, Panel};
use homing_hal::capability::power::Power;
use homing_hal::capability::touch::{Input, Phase, Touch};
use homing_hal::{Cancel, Fault, Hal};
use nix::sys::signal::SigSet;

use crate::clock::{self, Clock};
use crate::error::Error;
use crate::language::{ENGLISH, Labels};
use crate::notice::Notice;
use crate::page::{self, Emergency, Moment, Sheet, View};
use crate::run::spawn;
use crate::typeset::Typesetter;

/// How long the message stands where nobody says otherwise: as long as it takes to pick a phone up, read it and read it again. The
/// start waits for it, also one that needs nobody.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long a panel is waited for: its driver may be loaded later than the disk's.
const PANEL: Duration = Duration::from_secs(5);
/// How often it is tried.
const AGAIN: Duration = Duration::from_millis(200);
/// How often hands are looked for where there are no input devices yet.
const HANDS_AGAIN: Duration = Duration::from_secs(1);
/// How long one page of a long message stands, as on the lost screen.
const PAGE: Duration = Duration::from_secs(8);
/// A key that was pressed is not to be typed into the prompt: a keyboard repeats it after a quarter of a second (`REP_DELAY`) for as
/// long as it is held, and most are let go sooner than in twice that time.
const LINGER: Duration = Duration::from_millis(500);
/// As bright as the lost screen after a touch, percent.
const LIGHT: Backlight = Backlight::Percent(80);
/// A clock that is a day behind the episode's beginning is wrong.
const CLOCK_SLACK_S: i64 = 86_400;

/// What is shown, and for how long at most.
#[derive(Clone, Debug)]
pub struct Before {
    /// The copy of the notice.
    pub notice: Notice,
    /// After this long the start goes on.
    pub patience: Duration,
    /// The phone's locale, such as `de_DE.UTF-8`.
    pub locale: String,
    /// Folders with fonts.
    pub fonts: Vec<PathBuf>,
    /// The wall clock.
    pub clock: Clock,
}

/// What goes on.
enum Event {
    Hand,
    End,
}

/// Reads the copy; `None` where there is none. Whatever is no ordinary file is none either: a pipe would never end.
///
/// # Errors
/// [`Error::Notice`], [`Error::Io`].
pub fn read(copy: &Path) -> Result<Option<Notice>, Error> {
    match std::fs::metadata(copy) {
        Ok(found) if found.is_file() => Notice::read(copy),
        _ => Ok(None),
    }
}

impl Before {
    /// Writes the message as text, for a console above whose prompt it stands.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, console: &mut impl Write) -> Result<(), Error> {
        let labels = Labels::of_locale(&self.locale);
        let mut text = format!("\n{}\n\n{}\n", labels.lost, self.notice.message);
        if let Some(contact) = &self.notice.contact {
            text.push_str(&format!("\n{} {contact}\n", labels.contact));
        }
        text.push('\n');
        console
            .write_all(text.as_bytes())
            .and_then(|()| console.flush())
            .map_err(|error| Error::Io {
                doing: "writing the message",
                error,
            })
    }

    /// Shows the message on the panel until a hand or the time ends that, and gives everything back. A phone whose panel cannot be had
    /// has its text on the console; that is a success.
    ///
    /// # Errors
    /// [`Error::Body`] when the panel failed while it was shown, or could not be given back; [`Error::Io`].
    pub fn show(&self, hal: Hal, ends: SigSet) -> Result<(), Error> {
        let Some(mut panel) = hal.panel else {
            return Ok(());
        };
        let geometry = match taken(panel.as_mut()) {
            Ok(geometry) => geometry,
            Err(fault) => {
                eprintln!("homing-lost-screen: no picture of the message: {fault}");
                // The console may have been taken already.
                return match panel.release() {
                    Ok(()) | Err(Fault::Absent(_)) => Ok(()),
                    Err(fault) => Err(fault.into()),
                };
            }
        };
        let cancel = Cancel::new();
        let (tell, hear) = mpsc::channel();
        let told = tell.clone();
        spawn("signals", move || {
            if ends.wait().is_ok() {
                let _ = told.send(Event::End);
            }
        })?;
        let mut listening = None;
        if let Some(mut touch) = hal.touch {
            if let Err(fault) = touch.take() {
                eprintln!("homing-lost-screen: touch and keys: {fault}");
            }
            let cancel = cancel.clone();
            listening = Some(spawn("touch", move || {
                if hand(touch.as_mut(), &cancel) {
                    let _ = tell.send(Event::Hand);
                    // Taken until here, so that nothing of it reaches the prompt.
                    let _ = cancel.rest(Instant::now() + LINGER);
                }
                touch.release()
            })?);
        }
        let shown = self.pages(panel.as_mut(), hal.power, geometry, &hear);
        if let (Ok(Some(Event::Hand)), Some(thread)) = (&shown, listening.take()) {
            let _ = thread.join();
        }
        cancel.cancel();
        if let Some(thread) = listening {
            let _ = thread.join();
        }
        panel.release()?;
        shown.map(drop)
    }

    /// Draws page after page; why it ended, `None` for time.
    fn pages(
        &self,
        panel: &mut dyn Panel,
        mut power: Box<dyn Power>,
        geometry: Geometry,
        hear: &Receiver<Event>,
    ) -> Result<Option<Event>, Error> {
        let (labels, mut setter) = self.words();
        let mut notice = self.notice.clone();
        // The key that would open the keypad bears another word here, and every touch means it.
        notice.code_digits = Some(1);
        let began = Instant::now();
        let until = began + self.patience;
        panel.light(LIGHT)?;
        let mut turned = 0;
        loop {
            let view = View {
                notice: &notice,
                labels: &labels,
                moment: self.moment(power.as_mut()),
                geometry,
                sheet: Sheet::Message(turned),
                emergency: Emergency::Impossible,
                ring: Ring::None,
                pressed: None,
                minute: began.elapsed().as_secs() / 60,
            };
            let drawn = page::draw(&mut setter, &view);
            panel.show(&drawn.frame, &drawn.text.join("\n"))?;
            turned += usize::from(drawn.message_pages > 1);
            let left = until.saturating_duration_since(Instant::now());
            match hear.recv_timeout(left.min(PAGE)) {
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Timeout) if left > PAGE => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// The phone's language, where its words are readable, and letters for everything.
    fn words(&self) -> (Labels, Typesetter) {
        let of = |mut labels: Labels| {
            labels.enter_code = labels.passphrase;
            let texts = page::texts(&self.notice, &labels);
            let setter = Typesetter::new(&texts, labels.tag, &self.fonts);
            (labels, setter)
        };
        let (labels, setter) = of(Labels::of_locale(&self.locale));
        let mut words = labels.words().into_iter();
        match words.all(|word| setter.unreadable(word).is_empty()) {
            true => (labels, setter),
            false => of(ENGLISH),
        }
    }

    fn moment(&self, power: &mut dyn Power) -> Moment {
        let unix_s = i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX);
        let since = self.notice.since_unix_s.saturating_sub(CLOCK_SLACK_S);
        Moment {
            clock: self.clock.read(unix_s, since),
            battery_percent: power.battery().ok().and_then(|battery| battery.percent),
        }
    }
}

/// Takes the panel, one that comes late or that somebody is just leaving too.
fn taken(panel: &mut dyn Panel) -> Result<Geometry, Fault> {
    let until = Instant::now() + PANEL;
    loop {
        match panel.take() {
            Err(_) if Instant::now() < until => {
                let _ = Cancel::new().rest(Instant::now() + AGAIN);
            }
            other => return other,
        }
    }
}

/// Waits for a finger that is lifted, so that it does not lie on what comes next, or a key; whether there was one.
fn hand(touch: &mut dyn Touch, cancel: &Cancel) -> bool {
    loop {
        match touch.next(cancel) {
            Ok(Input::Touch { phase, .. }) if phase != Phase::Up => {}
            Ok(_) => return true,
            // A keyboard or a panel may be found later than the disk.
            Err(Fault::Absent(_)) if cancel.rest(Instant::now() + HANDS_AGAIN).is_ok() => {}
            Err(_) => return false,
        }
    }
}
