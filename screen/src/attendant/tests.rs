//! A finder's hands on the screen, in virtual time.

use super::*;

const GEOMETRY: Geometry = Geometry {
    width_px: 720,
    height_px: 1440,
    width_mm: 68,
    height_mm: 136,
};

struct Finder {
    attendant: Attendant,
    now: Instant,
}

impl Finder {
    fn new(message: &str, locale: &str, emergency: Emergency) -> Self {
        let notice = Notice {
            episode: "00".into(),
            message: message.into(),
            contact: Some("+49 170 1234567".into()),
            code_digits: Some(4),
            since_unix_s: 0,
        };
        let phone = Phone {
            locale: locale.into(),
            fonts: Vec::new(),
            emergency,
        };
        let now = Instant::now();
        let mut finder = Self {
            attendant: Attendant::new(notice, &phone, GEOMETRY, now),
            now,
        };
        finder.look();
        finder
    }

    fn look(&mut self) -> Vec<String> {
        self.attendant.draw(Moment::default(), self.now).text
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.attendant.pass(self.now);
    }

    fn finger(&mut self, phase: Phase, key: Key) -> Option<Wish> {
        let place = self.attendant.keys.iter().find(|(found, _)| *found == key);
        let (_, rect) = *place.expect("the key is shown");
        #[expect(clippy::cast_precision_loss, reason = "pixels of a panel")]
        let (x, y) = (
            (rect.x + rect.w / 2) as f32 / f32::from(GEOMETRY.width_px),
            (rect.y + rect.h / 2) as f32 / f32::from(GEOMETRY.height_px),
        );
        self.attendant.input(Input::Touch { phase, x, y }, self.now)
    }

    fn tap(&mut self, key: Key) -> Option<Wish> {
        let early = self.finger(Phase::Down, key);
        assert_eq!(early, None);
        let wish = self.finger(Phase::Up, key);
        self.look();
        wish
    }
}

#[test]
fn a_finder_types_the_code_and_is_told_to_wait() {
    let mut finder = Finder::new("Hello", "de_DE", Emergency::Impossible);
    assert_eq!(finder.tap(Key::EnterCode), None);
    for digit in [1, 2, 9] {
        assert_eq!(finder.tap(Key::Digit(digit)), None);
    }
    assert_eq!(finder.tap(Key::Delete), None);
    assert_eq!(finder.tap(Key::Digit(3)), None);
    assert!(finder.look().contains(&"3/4".to_owned()));
    let wish = finder.tap(Key::Digit(4));
    assert_eq!(wish, Some(Wish::Judge(Zeroizing::new("1234".into()))));
    finder
        .attendant
        .verdict(Verdict::Wrong(Duration::from_secs(30)), finder.now);
    assert!(
        finder
            .look()
            .contains(&"Falscher Code – Warten 0:30".to_owned())
    );
    assert_eq!(
        finder.attendant.next(finder.now),
        Some(finder.now + Duration::from_secs(1))
    );
    finder.wait(29);
    assert_eq!(finder.tap(Key::Digit(1)), None);
    assert!(finder.look().contains(&"0/4".to_owned()));
    finder.wait(1);
    finder.tap(Key::Digit(1));
    assert!(finder.look().contains(&"1/4".to_owned()));
}

#[test]
fn a_finger_that_wakes_the_panel_or_slides_off_a_key_does_nothing() {
    let mut finder = Finder::new("Hello", "en", Emergency::Impossible);
    finder.finger(Phase::Down, Key::EnterCode);
    let away = Input::Touch {
        phase: Phase::Move,
        x: 0.5,
        y: 0.3,
    };
    finder.attendant.input(away, finder.now);
    finder.finger(Phase::Move, Key::EnterCode);
    finder.finger(Phase::Up, Key::EnterCode);
    assert!(finder.look().contains(&"Hello".to_owned()));
    finder
        .attendant
        .input(Input::Key(CaseKey::Power), finder.now);
    assert_eq!(finder.attendant.backlight(), Backlight::Off);
    assert_eq!(finder.attendant.next(finder.now), None);
    finder.tap(Key::EnterCode);
    assert_ne!(finder.attendant.backlight(), Backlight::Off);
    assert!(finder.look().contains(&"Hello".to_owned()));
    finder.tap(Key::EnterCode);
    assert!(!finder.look().contains(&"Hello".to_owned()));
}

#[test]
fn a_panel_left_alone_goes_off_forgets_what_was_typed_and_shows_the_message_when_woken() {
    let mut finder = Finder::new("Hello", "en", Emergency::Impossible);
    finder.tap(Key::EnterCode);
    finder.tap(Key::Digit(1));
    let mut wakes = 0;
    while let Some(next) = finder.attendant.next(finder.now) {
        finder.now = next;
        finder.attendant.pass(next);
        wakes += 1;
        assert!(wakes < 10);
    }
    assert_eq!(finder.attendant.backlight(), Backlight::Off);
    finder
        .attendant
        .input(Input::Key(CaseKey::Power), finder.now);
    assert!(finder.look().contains(&"Hello".to_owned()));
    finder.tap(Key::EnterCode);
    assert!(finder.look().contains(&"0/4".to_owned()));
}

#[test]
fn a_long_message_turns_its_pages_by_itself_and_by_touch() {
    let mut finder = Finder::new(&"WWW ".repeat(90), "en", Emergency::Impossible);
    let first = finder.attendant.draw(Moment::default(), finder.now);
    assert!(first.message_pages > 1);
    finder.wait(8);
    let second = finder.attendant.draw(Moment::default(), finder.now);
    assert_ne!(first.frame, second.frame);
    finder.tap(Key::Message);
    let third = finder.attendant.draw(Moment::default(), finder.now);
    assert_ne!(second.frame, third.frame);
}

#[test]
fn help_is_called_only_where_it_can_be_and_its_words_are_readable() {
    let mut finder = Finder::new("Hello", "en", Emergency::Offered);
    assert_eq!(finder.tap(Key::Emergency), Some(Wish::Call));
    let calling = Emergency::Calling("112".into());
    finder.attendant.call(calling, finder.now);
    finder.look();
    assert_eq!(finder.tap(Key::HangUp), Some(Wish::HangUp));
    // Chinese without a Chinese font.
    let mut finder = Finder::new("你好", "zh_CN", Emergency::Impossible);
    let text = finder.look();
    assert!(text.contains(&ENGLISH.no_emergency.to_owned()), "{text:?}");
    assert!(text.contains(&"[Han]".to_owned()), "{text:?}");
}

#[test]
fn the_owner_s_call_wakes_the_panel_leaves_the_keypad_and_takes_no_finger_for_an_answer() {
    let mut finder = Finder::new("Hello", "en", Emergency::Offered);
    finder.tap(Key::EnterCode);
    finder.finger(Phase::Down, Key::Digit(1));
    finder.attendant.ring(Ring::Ringing, finder.now);
    assert!(finder.look().contains(&"The owner is calling".to_owned()));
    // The finger that was on a digit is lifted where the answer's key is now.
    assert_eq!(finder.finger(Phase::Up, Key::Answer), None);
    assert_eq!(finder.tap(Key::Answer), Some(Wish::Answer));
    finder.attendant.ring(Ring::Connected, finder.now);
    finder.look();
    assert_eq!(finder.tap(Key::EndAnswered), Some(Wish::EndAnswered));
    let power = Input::Key(CaseKey::Power);
    finder.attendant.input(power, finder.now);
    assert_eq!(finder.attendant.backlight(), Backlight::Off);
    finder.attendant.ring(Ring::None, finder.now);
    assert_eq!(finder.attendant.backlight(), Backlight::Off);
    finder.attendant.ring(Ring::Ringing, finder.now);
    assert_ne!(finder.attendant.backlight(), Backlight::Off);
}
