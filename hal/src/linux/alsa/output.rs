//! The loudspeaker held for the siren: sound, the locked mixer, and the way back. It decides neither what sounds nor when.

use nix::errno::Errno;

use super::control::{Control, fault};
use super::memory::Memory;
use super::pcm::Pcm;
use super::route::Step;
use super::standing;
use crate::capability::siren::SirenOutput;
use crate::fault::Fault;

/// A taken loudspeaker.
pub(super) struct AlsaOutput {
    pcm: Pcm,
    control: Control,
    steps: Vec<Step>,
    /// The user's mixer, the one to put back.
    memory: Memory,
    /// Numbers of the elements whose lock is ours.
    locked: Vec<u32>,
}

impl AlsaOutput {
    /// Remembers the mixer as found; it is not touched yet.
    pub(super) fn new(pcm: Pcm, control: Control, steps: Vec<Step>) -> Result<Self, Fault> {
        let mut memory = Memory {
            card: control.id.clone(),
            found: Vec::new(),
        };
        for step in &steps {
            memory.add(step.element.numid, standing(&control, &step.element)?);
        }
        Ok(Self {
            pcm,
            control,
            steps,
            memory,
            locked: Vec::new(),
        })
    }

    /// Locks one element and sets it where it stands otherwise. What one element refuses must not keep the others
    /// from being set, so only a card that is gone is a fault.
    fn assert_step(&mut self, index: usize) -> Result<(), Fault> {
        let Some(step) = self.steps.get(index) else {
            return Ok(());
        };
        let doing = || format!("setting {}", step.element.name);
        if !self.locked.contains(&step.element.numid) {
            match self.control.lock(&step.element) {
                Ok(()) => self.locked.push(step.element.numid),
                Err(errno) => tracing::debug!(%errno, element = step.element.name, "no lock"),
            }
        }
        let stands = match self.control.read(&step.element) {
            Ok(values) => values == step.values,
            Err(errno) => return gone_or_logged(fault(&doing(), errno)),
        };
        if stands {
            return Ok(());
        }
        match self.control.write(&step.element, &step.values) {
            Ok(()) => Ok(()),
            Err(errno) => gone_or_logged(fault(&doing(), errno)),
        }
    }

    /// Writes the remembered values, last set first, and gives the locks back.
    fn restore(&mut self) -> Result<(), Fault> {
        let mut result = Ok(());
        for step in self.steps.iter().rev() {
            let Some(values) = self.memory.of(step.element.numid, step.element.count) else {
                continue;
            };
            if let Err(errno) = self.control.write(&step.element, &values) {
                result = Err(fault(&format!("putting back {}", step.element.name), errno));
            }
        }
        for step in &self.steps {
            if self.locked.contains(&step.element.numid)
                && let Err(errno) = self.control.unlock(&step.element)
                && errno != Errno::EINVAL
            {
                tracing::debug!(%errno, element = step.element.name, "the lock ends with the file");
            }
        }
        self.locked.clear();
        result
    }
}

fn gone_or_logged(fault: Fault) -> Result<(), Fault> {
    match fault {
        gone @ Fault::Absent(_) => Err(gone),
        fault => {
            tracing::debug!(%fault, "this element stays as it is");
            Ok(())
        }
    }
}

impl SirenOutput for AlsaOutput {
    fn sample_rate(&self) -> u32 {
        self.pcm.rate
    }

    fn write(&mut self, samples: &[i16]) -> Result<(), Fault> {
        self.pcm.write(samples)
    }

    fn assert_loud(&mut self) -> Result<(), Fault> {
        (0..self.steps.len()).try_for_each(|index| self.assert_step(index))
    }

    fn found(&self) -> Option<String> {
        if self.memory.found.is_empty() {
            return None;
        }
        self.memory.to_text().ok()
    }

    fn take_over(&mut self, found: &str) -> Result<(), Fault> {
        let earlier = Memory::read(found)?;
        if earlier.card != self.memory.card {
            let (was, is) = (&earlier.card, &self.memory.card);
            return Err(Fault::Broken(format!("a mixer of card {was}, not of {is}")));
        }
        self.memory = earlier;
        Ok(())
    }

    fn release(mut self: Box<Self>) -> Result<(), Fault> {
        // Silence first: a headset on an ear must not get the last of it.
        let silent = self.pcm.stop();
        let restored = self.restore();
        silent.and(restored)
    }
}
