//! The siren on real sound hardware: ALSA's PCM and control devices, spoken to without libasound. It takes the loudspeaker, makes it loud, locks its controls, and puts the mixer back; it makes no sound of its own.

pub mod claim;
mod control;
mod grip;
mod holder;
mod memory;
mod output;
mod pcm;
mod route;
mod uapi;

use std::fs;
use std::path::PathBuf;

use self::claim::Claim;
use self::control::Control;
use self::memory::Memory;
use self::output::AlsaOutput;
use self::pcm::Pcm;
use self::route::Route;
use crate::capability::siren::{SirenOutput, SoundCard};
use crate::fault::{Fault, Probe, Roots};

/// The driver.
#[derive(Debug)]
pub struct AlsaCard {
    roots: Roots,
    /// What an opening that failed leaves standing for the next try: sessions must not take the card again in between.
    pending: Option<Claim>,
}

/// A card with what leads to its loudspeaker.
#[derive(Debug)]
struct Candidate {
    number: u32,
    control: Control,
    route: Route,
    /// Numbers of its playback devices, lowest first.
    devices: Vec<u32>,
    rank: (usize, Place, usize),
}

/// Where a card's sound comes out, as its name tells; the later the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A screen far away, or a virtual card.
    Elsewhere,
    /// Something plugged in, perhaps a headset.
    Plugged,
    /// Perhaps the phone itself.
    Inside,
}

impl AlsaCard {
    /// A driver for the cards below `roots.dev`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            roots: roots.clone(),
            pending: None,
        }
    }

    fn folder(&self) -> PathBuf {
        self.roots.dev.join("snd")
    }

    /// Numbers that stand between `before` and `after` in the names of the sound devices.
    fn numbers(&self, before: &str, after: &str) -> Vec<u32> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let mut found: Vec<u32> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = name.strip_prefix(before)?.strip_suffix(after)?;
                number.parse().ok()
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// The best card with a way to play, or why there is none.
    fn choose(&self) -> Result<Candidate, Fault> {
        let folder = self.folder();
        let mut why = Fault::Absent(format!("no sound card in {}", folder.display()));
        let mut best: Option<Candidate> = None;
        for number in self.numbers("controlC", "") {
            match self.candidate(number) {
                Ok(Some(candidate)) => {
                    if best.as_ref().is_none_or(|best| candidate.rank > best.rank) {
                        best = Some(candidate);
                    }
                }
                Ok(None) => {}
                Err(fault) => why = fault,
            }
        }
        best.ok_or(why)
    }

    fn control(&self, number: u32) -> Result<Control, Fault> {
        Control::open(&self.folder().join(format!("controlC{number}")))
    }

    fn candidate(&self, number: u32) -> Result<Option<Candidate>, Fault> {
        let devices = self.numbers(&format!("pcmC{number}D"), "p");
        if devices.is_empty() {
            return Ok(None);
        }
        let control = self.control(number)?;
        let elements = control.elements()?;
        let known = route::device(&self.roots)
            .map(|device| Route::of_device(&device, &elements))
            .filter(|route| !route.steps.is_empty());
        let known_steps = known.as_ref().map_or(0, |route| route.steps.len());
        let route = known.unwrap_or_else(|| Route::by_names(&elements));
        let rank = (known_steps, place(&control), route.steps.len());
        Ok(Some(Candidate {
            number,
            control,
            route,
            devices,
            rank,
        }))
    }
}

fn place(control: &Control) -> Place {
    let name = format!("{} {} {}", control.id, control.driver, control.name).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match () {
        () if says(&["hdmi", "displayport", "dummy", "loopback"]) => Place::Elsewhere,
        () if says(&["usb"]) => Place::Plugged,
        () => Place::Inside,
    }
}

impl Candidate {
    fn device(&self) -> u32 {
        let named = self.route.pcm.filter(|pcm| self.devices.contains(pcm));
        named.or(self.devices.first().copied()).unwrap_or(0)
    }
}

impl SoundCard for AlsaCard {
    fn name(&self) -> &'static str {
        "alsa"
    }

    fn probe(&self) -> Probe {
        match self.choose() {
            Ok(found) => {
                let controls: Vec<&str> = found
                    .route
                    .steps
                    .iter()
                    .map(|step| step.element.name.as_str())
                    .collect();
                Probe::Ready {
                    detail: format!(
                        "card {} {} ({}), device {}, route {}, controls: {}",
                        found.number,
                        found.control.name,
                        found.control.driver,
                        found.device(),
                        found.route.source,
                        if controls.is_empty() {
                            "none".into()
                        } else {
                            controls.join(", ")
                        },
                    ),
                }
            }
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn weak_points(&self) -> Vec<String> {
        let Ok(found) = self.choose() else {
            return Vec::new();
        };
        let mut weak = Vec::new();
        if !found.route.missing.is_empty() {
            let missing = found.route.missing.join(", ");
            weak.push(format!(
                "the route is {}, and the card lacks or refuses: {missing}",
                found.route.source
            ));
        }
        if found.rank.0 == 0 {
            weak.push(
                "this phone's route to the loudspeaker is not known and only guessed from names: try a ring, and put a file for this phone into /etc/homing/devices if it is not loud".into(),
            );
        }
        if found.route.steps.is_empty() {
            weak.push(
                "the card has no volume or switch to set: a mute elsewhere cannot be undone".into(),
            );
        }
        weak
    }

    fn open(&mut self) -> Result<Box<dyn SirenOutput>, Fault> {
        let found = self.choose()?;
        found.control.exclude_sirens()?;
        let path = self
            .folder()
            .join(format!("pcmC{}D{}p", found.number, found.device()));
        self.pending = Claim::renew(self.pending.take(), &self.roots, found.number);
        let pcm = match claim::wait(self.pending.as_ref(), &self.roots, || Pcm::open(&path)) {
            Err(Fault::Busy(_)) => {
                let holder = holder::of(&self.roots, found.number, found.device());
                holder::take(holder, || Pcm::open(&path))?
            }
            other => other?,
        };
        let route = found.route.steps;
        let mut output = AlsaOutput::new(pcm, found.control, route)?;
        output.claim = self.pending.take();
        Ok(Box::new(output))
    }

    fn put_back(&mut self, mixer: &str) -> Result<(), Fault> {
        let memory = Memory::read(mixer)?;
        // A card that cannot be opened now is as good as absent: the mixer stays owed.
        let control = self
            .numbers("controlC", "")
            .into_iter()
            .filter_map(|number| self.control(number).ok())
            .find(|control| control.id == memory.card)
            .ok_or_else(|| Fault::Absent(format!("the card {} is not here", memory.card)))?;
        control.exclude_sirens()?;
        let elements = control.elements()?;
        grip::put_back(&control, elements.iter(), &memory)
    }
}
