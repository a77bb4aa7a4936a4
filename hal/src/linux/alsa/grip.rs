//! A mixer held for the siren: locked, set, set again, and put back. It plays nothing and decides nothing.

use nix::errno::Errno;

use super::control::{Control, Element, fault};
use super::memory::Memory;
use super::route::Step;
use crate::capability::siren::FoundMixer;
use crate::fault::Fault;

/// What is done with one element of a mixer.
pub(super) trait Mixer {
    /// Its values.
    fn read(&self, element: &Element) -> Result<Vec<i64>, Errno>;
    /// Sets its values.
    fn write(&self, element: &Element, values: &[i64]) -> Result<(), Errno>;
    /// Forbids everybody else to set them.
    fn lock(&self, element: &Element) -> Result<(), Errno>;
    /// Allows it again.
    fn unlock(&self, element: &Element) -> Result<(), Errno>;
}

impl Mixer for Control {
    fn read(&self, element: &Element) -> Result<Vec<i64>, Errno> {
        Self::read(self, element)
    }

    fn write(&self, element: &Element, values: &[i64]) -> Result<(), Errno> {
        Self::write(self, element, values)
    }

    fn lock(&self, element: &Element) -> Result<(), Errno> {
        Self::lock(self, element)
    }

    fn unlock(&self, element: &Element) -> Result<(), Errno> {
        Self::unlock(self, element)
    }
}

/// A held mixer. Where it is dropped without [`Grip::release`] the kernel ends the locks and the mixer stays loud.
pub(super) struct Grip<M> {
    mixer: M,
    steps: Vec<Step>,
    /// The user's mixer, the one to put back.
    memory: Memory,
    /// Numbers of the elements whose lock is ours.
    locked: Vec<u32>,
    /// Names of those whose lock was refused when it was last asked for.
    unlocked: Vec<String>,
}

/// Sets a mixer's elements as remembered, last found first, for the order of setting may matter to a codec.
///
/// # Errors
/// The last element that could not be set; the others are.
pub(super) fn put_back<'a>(
    mixer: &impl Mixer,
    elements: impl Iterator<Item = &'a Element> + Clone,
    memory: &Memory,
) -> Result<(), Fault> {
    let mut result = Ok(());
    for numid in memory.numbers().rev() {
        let Some(element) = elements.clone().find(|element| element.numid == numid) else {
            result = Err(Fault::Broken(format!(
                "the card has no element {numid} any more"
            )));
            continue;
        };
        let Some(values) = memory.of(numid, element.count) else {
            let name = &element.name;
            result = Err(Fault::Broken(format!(
                "what was found of {name} does not fit it"
            )));
            continue;
        };
        if let Err(errno) = mixer.write(element, &values) {
            result = Err(fault(&format!("putting back {}", element.name), errno));
        }
    }
    result
}

impl<M: Mixer> Grip<M> {
    /// Remembers the mixer of `card` as found; it is not touched yet.
    ///
    /// # Errors
    /// [`Fault::Absent`] when the card is gone.
    pub(super) fn new(card: &str, mixer: M, steps: Vec<Step>) -> Result<Self, Fault> {
        let mut memory = Memory {
            card: card.to_owned(),
            found: Vec::new(),
        };
        for Step { element, .. } in &steps {
            match mixer.read(element) {
                Ok(values) => memory.add(element.numid, values),
                // One that cannot be read cannot be put back; the others must sound all the same.
                Err(errno) => match fault(&format!("reading {}", element.name), errno) {
                    gone @ Fault::Absent(_) => return Err(gone),
                    fault => tracing::warn!(%fault, "this element is not put back afterwards"),
                },
            }
        }
        Ok(Self {
            mixer,
            steps,
            memory,
            locked: Vec::new(),
            unlocked: Vec::new(),
        })
    }

    /// Locks every element and sets those that stand otherwise. What one element refuses must not keep the others from
    /// being set, so only a card that is gone is a fault.
    ///
    /// # Errors
    /// [`Fault::Absent`] when the card is gone.
    pub(super) fn assert(&mut self) -> Result<(), Fault> {
        self.unlocked.clear();
        for step in &self.steps {
            let element = &step.element;
            // Another program may hold a lock now and let go of it later, so what was refused is tried again.
            if !self.locked.contains(&element.numid) {
                match self.mixer.lock(element) {
                    Ok(()) => self.locked.push(element.numid),
                    Err(errno) => {
                        tracing::debug!(%errno, element = element.name, "no lock");
                        self.unlocked.push(element.name.clone());
                    }
                }
            }
            let set = match self.mixer.read(element) {
                Ok(stands) if stands == step.values => Ok(()),
                Err(Errno::ENODEV) => Err(Errno::ENODEV),
                // What cannot be read may still be written.
                _ => self.mixer.write(element, &step.values),
            };
            if let Err(errno) = set {
                match fault(&format!("setting {}", element.name), errno) {
                    gone @ Fault::Absent(_) => return Err(gone),
                    fault => tracing::debug!(%fault, "this element stays as it is"),
                }
            }
        }
        Ok(())
    }

    /// Names of the elements that others can turn, as of the last [`Grip::assert`].
    pub(super) fn unlocked(&self) -> &[String] {
        &self.unlocked
    }

    /// What to remember beyond this process.
    pub(super) fn found(&self) -> Option<FoundMixer> {
        if self.memory.found.is_empty() {
            return None;
        }
        Some(FoundMixer {
            card: self.memory.card.clone(),
            mixer: self.memory.to_text().ok()?,
        })
    }

    /// From now on this is the mixer to put back.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is no mixer of this card.
    pub(super) fn take_over(&mut self, found: &str) -> Result<(), Fault> {
        let earlier = Memory::read(found)?;
        if earlier.card != self.memory.card {
            let (was, is) = (&earlier.card, &self.memory.card);
            return Err(Fault::Broken(format!("a mixer of card {was}, not of {is}")));
        }
        self.memory = earlier;
        Ok(())
    }

    /// Writes the remembered values, last set first, and gives the locks back.
    ///
    /// # Errors
    /// The last element that could not be put back; the others are, and every lock is given back.
    pub(super) fn release(&mut self) -> Result<(), Fault> {
        let elements = self.steps.iter().map(|step| &step.element);
        let result = put_back(&self.mixer, elements, &self.memory);
        for Step { element, .. } in &self.steps {
            if self.locked.contains(&element.numid)
                && let Err(errno) = self.mixer.unlock(element)
            {
                tracing::debug!(%errno, element = element.name, "the lock ends with its file");
            }
        }
        self.locked.clear();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::super::control::{Kind, Writable};
    use super::*;

    /// A mixer as the kernel keeps it: values, and who has locked what.
    #[derive(Default)]
    struct Card {
        values: BTreeMap<u32, i64>,
        locks: BTreeMap<u32, &'static str>,
        gone: Vec<u32>,
        unreadable: Vec<u32>,
    }

    #[derive(Clone)]
    struct Program(&'static str, Rc<RefCell<Card>>);

    impl Mixer for Program {
        fn read(&self, element: &Element) -> Result<Vec<i64>, Errno> {
            let card = self.1.borrow();
            if card.gone.contains(&element.numid) {
                Err(Errno::ENODEV)
            } else if card.unreadable.contains(&element.numid) {
                Err(Errno::EIO)
            } else {
                Ok(vec![card.values[&element.numid]])
            }
        }

        fn write(&self, element: &Element, values: &[i64]) -> Result<(), Errno> {
            let mut card = self.1.borrow_mut();
            match card.locks.get(&element.numid) {
                Some(owner) if *owner != self.0 => Err(Errno::EPERM),
                _ => {
                    card.values.insert(element.numid, values[0]);
                    Ok(())
                }
            }
        }

        fn lock(&self, element: &Element) -> Result<(), Errno> {
            let mut card = self.1.borrow_mut();
            match card.locks.get(&element.numid) {
                Some(_) => Err(Errno::EBUSY),
                None => {
                    card.locks.insert(element.numid, self.0);
                    Ok(())
                }
            }
        }

        fn unlock(&self, element: &Element) -> Result<(), Errno> {
            self.1.borrow_mut().locks.remove(&element.numid);
            Ok(())
        }
    }

    fn step(numid: u32, value: i64) -> Step {
        let element = Element {
            numid,
            name: format!("Element {numid}"),
            index: 0,
            count: 1,
            kind: Kind::Switch,
            writable: Writable::Yes,
            scale: None,
        };
        Step {
            element,
            values: vec![value],
        }
    }

    /// Element 1 is off and element 2 at 3; loud is 1 and 100.
    fn held() -> (Grip<Program>, Program) {
        let card = Rc::new(RefCell::new(Card::default()));
        card.borrow_mut().values = [(1, 0), (2, 3)].into();
        let siren = Program("siren", card.clone());
        let grip = Grip::new("Card", siren, vec![step(1, 1), step(2, 100)]).unwrap();
        (grip, Program("user", card))
    }

    fn values(program: &Program) -> Vec<i64> {
        program.1.borrow().values.values().copied().collect()
    }

    #[test]
    fn a_held_mixer_refuses_others_and_is_put_back_and_free_after_its_release() {
        let (mut grip, user) = held();
        grip.assert().unwrap();
        assert_eq!(values(&user), [1, 100]);
        assert_eq!(user.write(&step(1, 0).element, &[0]), Err(Errno::EPERM));
        grip.release().unwrap();
        assert_eq!(values(&user), [0, 3]);
        assert_eq!(user.write(&step(1, 0).element, &[1]), Ok(()));
    }

    #[test]
    fn an_element_that_another_program_holds_muted_is_set_and_locked_once_that_lets_go() {
        let (mut grip, user) = held();
        let mute = step(1, 0).element;
        user.lock(&mute).unwrap();
        grip.assert().unwrap();
        assert_eq!(values(&user), [0, 100], "the rest is loud");
        assert_eq!(grip.unlocked(), ["Element 1"]);
        user.unlock(&mute).unwrap();
        grip.assert().unwrap();
        assert_eq!(values(&user), [1, 100]);
        assert_eq!(user.lock(&mute), Err(Errno::EBUSY));
        assert!(grip.unlocked().is_empty());
    }

    #[test]
    fn what_changes_although_it_is_locked_is_set_again() {
        // As a codec does that was reset in a suspend, or a driver that reacts to a plug.
        let (mut grip, user) = held();
        grip.assert().unwrap();
        user.1.borrow_mut().values.insert(2, 0);
        grip.assert().unwrap();
        assert_eq!(values(&user), [1, 100]);
    }

    #[test]
    fn a_dead_sirens_memory_is_put_back_instead_of_the_loud_mixer() {
        let (mut first, user) = held();
        let found = first.found().unwrap();
        assert_eq!(found.card, "Card");
        first.assert().unwrap();
        user.1.borrow_mut().locks.clear();
        let siren = Program("siren", user.1.clone());
        let mut second = Grip::new("Card", siren.clone(), vec![step(1, 1), step(2, 100)]).unwrap();
        second.take_over(&found.mixer).unwrap();
        assert_eq!(second.found(), Some(found.clone()));
        second.release().unwrap();
        assert_eq!(values(&user), [0, 3]);
        let mut other = Grip::new("Other", siren, Vec::new()).unwrap();
        let refused = other.take_over(&found.mixer);
        assert!(matches!(refused, Err(Fault::Broken(_))));
    }

    #[test]
    fn a_mixer_is_put_back_by_its_controls_alone_and_what_is_missing_is_said() {
        let (mut dead, user) = held();
        let memory = Memory::read(&dead.found().unwrap().mixer).unwrap();
        dead.assert().unwrap();
        user.1.borrow_mut().locks.clear();
        let elements = [step(1, 1).element, step(2, 100).element];
        assert_eq!(put_back(&user, elements.iter(), &memory), Ok(()));
        assert_eq!(values(&user), [0, 3]);
        let said = put_back(&user, elements[1..].iter(), &memory).unwrap_err();
        assert!(said.to_string().contains("no element 1"), "{said}");
    }

    #[test]
    fn an_element_that_cannot_be_read_is_set_all_the_same_and_keeps_no_other_one_from_sounding() {
        let (_, user) = held();
        user.1.borrow_mut().unreadable.push(1);
        let siren = Program("siren", user.1.clone());
        let mut grip = Grip::new("Card", siren, vec![step(1, 1), step(2, 100)]).unwrap();
        grip.assert().unwrap();
        assert_eq!(values(&user), [1, 100]);
        grip.release().unwrap();
        assert_eq!(values(&user), [1, 3], "what was not known is not guessed");
    }

    #[test]
    fn a_card_that_is_pulled_out_is_a_fault_and_one_refusal_is_not() {
        let (mut grip, user) = held();
        user.1.borrow_mut().gone.push(2);
        assert!(matches!(grip.assert(), Err(Fault::Absent(_))));
    }
}
