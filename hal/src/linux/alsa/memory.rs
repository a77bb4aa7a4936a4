//! What a mixer was like before the siren, as text that outlives the process; it must not hold more than is to be put back.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// A card's elements as found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    /// The card's id: another card's numbers mean nothing on this one.
    pub(super) card: String,
    /// Each element's number and values; one value stands for all channels alike.
    pub(super) found: Vec<(u32, Vec<i64>)>,
}

impl Memory {
    /// Adds an element, briefly: the text is to stay below [`LONGEST_MIXER`](crate::capability::siren::LONGEST_MIXER)
    /// for the largest codec.
    pub(super) fn add(&mut self, numid: u32, mut values: Vec<i64>) {
        if let Some(first) = values.first().copied()
            && values.iter().all(|value| *value == first)
        {
            values.truncate(1);
        }
        self.found.push((numid, values));
    }

    /// The elements' numbers, in the order in which they were found.
    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.found.iter().map(|(numid, _)| *numid)
    }

    /// An element's values as found, for `count` channels.
    pub(super) fn of(&self, numid: u32, count: usize) -> Option<Vec<i64>> {
        let (_, values) = self.found.iter().find(|(known, _)| *known == numid)?;
        match values.as_slice() {
            [one] => Some(vec![*one; count]),
            values if values.len() == count => Some(values.to_vec()),
            _ => None,
        }
    }

    /// The text.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it cannot be written, which integers and a name always can.
    pub(super) fn to_text(&self) -> Result<String, Fault> {
        serde_json::to_string(self)
            .map_err(|error| Fault::Broken(format!("writing the mixer's memory: {error}")))
    }

    /// Reads what [`Memory::to_text`] wrote.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is something else.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text)
            .map_err(|error| Fault::Broken(format!("not a mixer of an ALSA card: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::siren::LONGEST_MIXER;

    #[test]
    fn the_largest_mixer_is_remembered_within_its_bound_and_read_back() {
        let mut memory = Memory {
            card: "PinePhonePro".into(),
            found: Vec::new(),
        };
        for numid in 100..600 {
            memory.add(numid, vec![i64::from(numid); 2]);
        }
        memory.add(7, vec![3, 4]);
        let text = memory.to_text().unwrap();
        assert!(text.len() * 4 <= LONGEST_MIXER, "{} bytes", text.len());
        let read = Memory::read(&text).unwrap();
        assert_eq!(read.of(100, 2), Some(vec![100, 100]));
        assert_eq!(read.of(7, 2), Some(vec![3, 4]));
        assert_eq!(read.of(7, 1), None);
        assert_eq!(read.of(8, 1), None);
        assert!(Memory::read("{\"volume\":3}").is_err());
    }
}
