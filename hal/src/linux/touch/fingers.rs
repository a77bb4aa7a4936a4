//! The kernel's stream of input events as one finger and keys. It keeps every slot's place, because the kernel does not repeat what has not changed. Pure.

use crate::capability::touch::{CaseKey, Input, Phase};

// Linux include/uapi/linux/input-event-codes.h.
const EV_SYN: u16 = 0;
const EV_KEY: u16 = 1;
const EV_ABS: u16 = 3;
const SYN_REPORT: u16 = 0;
const SYN_DROPPED: u16 = 3;
const KEY_POWER: u16 = 116;
/// Codes from here to [`LAST_BUTTON`] are buttons of pointers and pads, not keys.
const FIRST_BUTTON: u16 = 0x100;
const LAST_BUTTON: u16 = 0x15f;
const BTN_TOUCH: u16 = 0x14a;
pub(super) const ABS_X: u16 = 0;
pub(super) const ABS_Y: u16 = 1;
const ABS_MT_SLOT: u16 = 0x2f;
pub(super) const ABS_MT_POSITION_X: u16 = 0x35;
pub(super) const ABS_MT_POSITION_Y: u16 = 0x36;
pub(super) const ABS_MT_TRACKING_ID: u16 = 0x39;
/// Most slots that are kept; kernels have ten to sixteen.
pub(super) const SLOTS: usize = 32;

/// Smallest and largest value of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: i32,
    pub(super) most: i32,
}

impl Range {
    /// A value as a part of the range.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a part of a whole loses nothing that a panel could show"
    )]
    fn part(self, value: i32) -> f32 {
        let span = f64::from(self.most) - f64::from(self.least);
        match span > 0.0 {
            true => ((f64::from(value) - f64::from(self.least)) / span).clamp(0.0, 1.0) as f32,
            false => 0.0,
        }
    }
}

/// Whether a device speaks of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Multi-touch, protocol B.
    Slots,
    /// One finger.
    Single,
    /// No finger: keys alone.
    Keys,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    is_down: bool,
    x: i32,
    y: i32,
}

/// The fingers on one device.
#[derive(Clone, Debug)]
pub(super) struct Fingers {
    protocol: Protocol,
    x: Range,
    y: Range,
    slots: [Slot; SLOTS],
    slot: usize,
    /// The finger that counts: the first one that came down.
    first: Option<(usize, Slot)>,
    /// Events were lost: nothing counts until the state was asked for anew.
    lost: bool,
    ready: Vec<Input>,
}

/// What follows from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read on.
    Event,
    /// Ask the device for its slots and hand them to [`Fingers::resume`].
    Ask,
}

impl Fingers {
    pub(super) fn new(protocol: Protocol, x: Range, y: Range) -> Self {
        Self {
            protocol,
            x,
            y,
            slots: [Slot::default(); SLOTS],
            slot: 0,
            first: None,
            lost: false,
            ready: Vec::new(),
        }
    }

    /// How its device tells of them.
    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Takes one event.
    pub(super) fn event(&mut self, kind: u16, code: u16, value: i32) -> Next {
        match (kind, code) {
            (EV_SYN, SYN_DROPPED) => self.lost = true,
            (EV_SYN, SYN_REPORT) if self.lost => return Next::Ask,
            (EV_SYN, SYN_REPORT) => self.report(),
            _ if self.lost => {}
            (EV_KEY, BTN_TOUCH) if self.protocol == Protocol::Single => {
                self.slots[0].is_down = value != 0;
            }
            (EV_KEY, code) if value == 1 && !(FIRST_BUTTON..=LAST_BUTTON).contains(&code) => {
                self.ready.push(Input::Key(match code {
                    KEY_POWER => CaseKey::Power,
                    _ => CaseKey::Other,
                }));
            }
            (EV_ABS, code) => self.axis(code, value),
            _ => {}
        }
        Next::Event
    }

    fn axis(&mut self, code: u16, value: i32) {
        if self.protocol == Protocol::Slots && code == ABS_MT_SLOT {
            // A slot beyond those that are kept is nobody's.
            self.slot = usize::try_from(value).unwrap_or(SLOTS);
            return;
        }
        let slot = match self.protocol {
            Protocol::Slots => self.slots.get_mut(self.slot),
            Protocol::Single => self.slots.first_mut(),
            Protocol::Keys => None,
        };
        let Some(slot) = slot else { return };
        match (self.protocol, code) {
            (Protocol::Slots, ABS_MT_POSITION_X) | (Protocol::Single, ABS_X) => slot.x = value,
            (Protocol::Slots, ABS_MT_POSITION_Y) | (Protocol::Single, ABS_Y) => slot.y = value,
            (Protocol::Slots, ABS_MT_TRACKING_ID) => slot.is_down = value >= 0,
            _ => {}
        }
    }

    /// The state as the device tells it when it is asked: for each slot its tracking number, and its place.
    pub(super) fn resume(&mut self, slots: &[(i32, i32, i32)], current: i32) {
        for (slot, (tracking, x, y)) in self.slots.iter_mut().zip(slots) {
            *slot = Slot {
                is_down: *tracking >= 0,
                x: *x,
                y: *y,
            };
        }
        self.slot = usize::try_from(current).unwrap_or(0);
        self.lost = false;
        self.report();
    }

    /// A whole report has come: what does the finger that counts do?
    fn report(&mut self) {
        match self.first {
            None => {
                let down = self.slots.iter().position(|slot| slot.is_down);
                if let Some(at) = down {
                    self.first = Some((at, self.slots[at]));
                    self.touch(Phase::Down, self.slots[at]);
                }
            }
            Some((at, before)) => {
                let now = self.slots[at];
                if !now.is_down {
                    self.first = None;
                    self.touch(Phase::Up, before);
                } else if now != before {
                    self.first = Some((at, now));
                    self.touch(Phase::Move, now);
                }
            }
        }
    }

    fn touch(&mut self, phase: Phase, slot: Slot) {
        self.ready.push(Input::Touch {
            phase,
            x: self.x.part(slot.x),
            y: self.y.part(slot.y),
        });
    }

    /// What has happened, oldest first; places are the device's own.
    pub(super) fn take(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Range = Range {
        least: 0,
        most: 719,
    };
    const HIGH: Range = Range {
        least: 0,
        most: 1439,
    };

    fn fed(protocol: Protocol, events: &[(u16, u16, i32)]) -> Vec<Input> {
        let mut fingers = Fingers::new(protocol, WIDE, HIGH);
        for (kind, code, value) in events {
            assert_eq!(fingers.event(*kind, *code, *value), Next::Event);
        }
        fingers.take()
    }

    fn phases(inputs: &[Input]) -> Vec<(Phase, u32, u32)> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "points of the panel"
        )]
        let of = |input: &Input| match input {
            Input::Touch { phase, x, y } => (
                *phase,
                (x * 719.0).round() as u32,
                (y * 1439.0).round() as u32,
            ),
            Input::Key(_) => panic!("a key"),
        };
        inputs.iter().map(of).collect()
    }

    #[test]
    fn a_second_touch_at_the_same_place_is_where_the_first_was_although_the_kernel_does_not_say() {
        // As a Goodix panel sends it: the second time neither axis has changed.
        let taps = fed(
            Protocol::Slots,
            &[
                (3, 0x39, 45),
                (3, 0x35, 360),
                (3, 0x36, 1200),
                (1, 0x14a, 1),
                (3, 0, 360),
                (3, 1, 1200),
                (0, 0, 0),
                (3, 0x39, -1),
                (1, 0x14a, 0),
                (0, 0, 0),
                (3, 0x39, 46),
                (1, 0x14a, 1),
                (0, 0, 0),
                (3, 0x35, 361),
                (0, 0, 0),
                (3, 0x39, -1),
                (1, 0x14a, 0),
                (0, 0, 0),
            ],
        );
        assert_eq!(
            phases(&taps),
            [
                (Phase::Down, 360, 1200),
                (Phase::Up, 360, 1200),
                (Phase::Down, 360, 1200),
                (Phase::Move, 361, 1200),
                (Phase::Up, 361, 1200),
            ]
        );
    }

    #[test]
    fn of_several_fingers_the_first_counts_until_it_is_lifted() {
        let touches = fed(
            Protocol::Slots,
            &[
                (3, 0x2f, 0),
                (3, 0x39, 1),
                (3, 0x35, 10),
                (3, 0x36, 20),
                (0, 0, 0),
                (3, 0x2f, 1),
                (3, 0x39, 2),
                (3, 0x35, 500),
                (3, 0x36, 600),
                (0, 0, 0),
                (3, 0x35, 510),
                (0, 0, 0),
                (3, 0x2f, 99),
                (3, 0x35, 7),
                (3, 0x2f, 0),
                (3, 0x39, -1),
                (0, 0, 0),
                (3, 0x2f, 1),
                (3, 0x36, 610),
                (0, 0, 0),
            ],
        );
        assert_eq!(
            phases(&touches),
            [
                (Phase::Down, 10, 20),
                (Phase::Up, 10, 20),
                // What is still there then is a finger of its own.
                (Phase::Down, 510, 610),
            ]
        );
    }

    #[test]
    fn a_panel_for_one_finger_and_the_keys_of_the_case_are_understood() {
        let touches = fed(
            Protocol::Single,
            &[
                (3, 0, 100),
                (3, 1, 200),
                (1, 0x14a, 1),
                (0, 0, 0),
                (1, 0x14a, 0),
                (0, 0, 0),
            ],
        );
        assert_eq!(
            phases(&touches),
            [(Phase::Down, 100, 200), (Phase::Up, 100, 200)]
        );
        let keys = fed(
            Protocol::Keys,
            &[
                (1, 116, 1),
                (0, 0, 0),
                (1, 116, 2),
                (0, 0, 0),
                (1, 116, 0),
                (1, 115, 1),
                (1, 0x110, 1),
                (0, 0, 0),
            ],
        );
        assert_eq!(
            keys,
            [Input::Key(CaseKey::Power), Input::Key(CaseKey::Other)]
        );
    }

    #[test]
    fn a_power_key_or_a_panel_of_one_finger_is_heard_again_after_lost_events() {
        let mut keys = Fingers::new(Protocol::Keys, WIDE, HIGH);
        keys.event(0, 3, 0);
        assert_eq!(keys.event(0, 0, 0), Next::Ask);
        keys.resume(&[(-1, 0, 0)], 0);
        keys.event(EV_KEY, KEY_POWER, 1);
        assert_eq!(keys.take(), [Input::Key(CaseKey::Power)]);

        let mut single = Fingers::new(Protocol::Single, WIDE, HIGH);
        single.event(0, 3, 0);
        assert_eq!(single.event(0, 0, 0), Next::Ask);
        single.resume(&[(0, 300, 400)], 0);
        single.event(EV_KEY, BTN_TOUCH, 0);
        single.event(0, 0, 0);
        assert_eq!(
            phases(&single.take()),
            [(Phase::Down, 300, 400), (Phase::Up, 300, 400)]
        );
    }

    #[test]
    fn lost_events_end_in_what_the_device_says_of_itself() {
        let mut fingers = Fingers::new(Protocol::Slots, WIDE, HIGH);
        for (kind, code, value) in [
            (3, 0x39, 3),
            (3, 0x35, 10),
            (0, 0, 0),
            (0, 3, 0),
            (3, 0x35, 900),
        ] {
            assert_eq!(fingers.event(kind, code, value), Next::Event);
        }
        assert_eq!(fingers.event(0, 0, 0), Next::Ask);
        fingers.resume(&[(-1, 10, 0), (7, 300, 400)], 1);
        fingers.event(0, 0, 0);
        assert_eq!(
            phases(&fingers.take()),
            [
                (Phase::Down, 10, 0),
                (Phase::Up, 10, 0),
                (Phase::Down, 300, 400)
            ]
        );
    }
}
