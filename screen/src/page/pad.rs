//! The page with the keypad. The digits themselves never reach it.

use super::{Key, Painter, SOFT, STRONG};
use crate::canvas::Rect;
use crate::keypad::State;

impl Painter<'_> {
    pub(super) fn keypad_page(&mut self, state: State, progress: (usize, usize)) {
        let pad = self.scale.pad();
        let labels = self.view.labels;
        self.status(pad.status);
        self.own_line(labels.code, pad.title, (3.4, 5.0), STRONG);
        self.masked(pad.digits, progress);
        if let Some(told) = self.told(state) {
            self.own_line(&told, pad.state, (3.0, 4.6), STRONG);
        }
        let keys = (1..=9)
            .map(Key::Digit)
            .chain([Key::Back, Key::Digit(0), Key::Delete]);
        for (key, area) in keys.zip(pad.keys) {
            match key {
                Key::Digit(digit) => self.key(key, &digit.to_string(), area, (4.0, 7.0)),
                Key::Back => self.button(key, labels.back, area),
                _ => self.button(key, labels.delete, area),
            }
        }
    }

    /// One mark for each digit, full where it is typed.
    fn masked(&mut self, area: Rect, (typed, wanted): (usize, usize)) {
        let count = i32::try_from(wanted).unwrap_or(1).max(1);
        let pitch = (area.w / count).min(self.scale.px(6.0));
        let side = (pitch * 3 / 5).min(area.h);
        let left = area.x + (area.w - count * pitch) / 2 + (pitch - side) / 2;
        for (digit, at) in (0..wanted).zip(0..) {
            let mark = Rect::new(left + at * pitch, area.y + (area.h - side) / 2, side, side);
            match digit < typed {
                true => self.canvas.fill(mark, STRONG),
                false => self.canvas.outline(mark, self.scale.px(0.2), SOFT),
            }
        }
        self.text.push(format!("{typed}/{wanted}"));
    }

    fn told(&self, state: State) -> Option<String> {
        let labels = self.view.labels;
        match state {
            State::Typing => None,
            State::Asking => Some("…".into()),
            State::Wrong { wait_s: 0 } => Some(labels.wrong.into()),
            State::Wrong { wait_s } => {
                Some(format!("{} – {}", labels.wrong, wait(labels.wait, wait_s)))
            }
            State::Unheard => Some(labels.unheard.into()),
            State::Wait { wait_s } => Some(wait(labels.wait, wait_s)),
            State::Right => Some("…".into()),
        }
    }
}

/// `Wait 1:05`, `Wait 1:00:00`.
fn wait(label: &str, wait_s: u64) -> String {
    let (hours, minutes, seconds) = (wait_s / 3600, wait_s / 60 % 60, wait_s % 60);
    match hours {
        0 => format!("{label} {minutes}:{seconds:02}"),
        hours => format!("{label} {hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_minutes_and_in_hours() {
        assert_eq!(wait("Wait", 5), "Wait 0:05");
        assert_eq!(wait("Wait", 65), "Wait 1:05");
        assert_eq!(wait("Wait", 3600), "Wait 1:00:00");
    }
}
