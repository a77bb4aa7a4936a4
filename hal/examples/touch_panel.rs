//! A touch panel and a power key of the kernel's own making (uinput), for trials in an emulated phone: each line `X Y` taps there (0 to 1), `power` presses the key. It is no part of the product.
#![forbid(unsafe_code)]

use std::io::{self, BufRead};
use std::thread::sleep;
use std::time::Duration;

use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode as Axis, AttributeSet, EventType, InputEvent, KeyCode, PropType,
    UinputAbsSetup,
};

const WIDE: i32 = 719;
const HIGH: i32 = 1439;

fn main() -> io::Result<()> {
    let keys: AttributeSet<KeyCode> = [KeyCode::BTN_TOUCH, KeyCode::KEY_POWER]
        .into_iter()
        .collect();
    let direct: AttributeSet<PropType> = [PropType::DIRECT].into_iter().collect();
    let axis = |axis, most| UinputAbsSetup::new(axis, AbsInfo::new(0, 0, most, 0, 0, 0));
    let mut panel = VirtualDevice::builder()?
        .name("Trial touch panel")
        .with_keys(&keys)?
        .with_properties(&direct)?
        .with_absolute_axis(&axis(Axis::ABS_MT_SLOT, 9))?
        .with_absolute_axis(&axis(Axis::ABS_MT_TRACKING_ID, 65535))?
        .with_absolute_axis(&axis(Axis::ABS_MT_POSITION_X, WIDE))?
        .with_absolute_axis(&axis(Axis::ABS_MT_POSITION_Y, HIGH))?
        .build()?;
    println!("ready");
    let abs = |axis: Axis, value| InputEvent::new(EventType::ABSOLUTE.0, axis.0, value);
    let key = |key: KeyCode, value| InputEvent::new(EventType::KEY.0, key.0, value);
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim() == "power" {
            panel.emit(&[key(KeyCode::KEY_POWER, 1)])?;
            panel.emit(&[key(KeyCode::KEY_POWER, 0)])?;
            continue;
        }
        let mut parts = line.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(x)), Some(Ok(y))) = (parts.next(), parts.next()) else {
            eprintln!("a line is `X Y` or `power`");
            continue;
        };
        #[expect(clippy::cast_possible_truncation, reason = "points of a panel")]
        let (x, y) = ((x * f64::from(WIDE)) as i32, (y * f64::from(HIGH)) as i32);
        panel.emit(&[
            abs(Axis::ABS_MT_TRACKING_ID, 1),
            abs(Axis::ABS_MT_POSITION_X, x),
            abs(Axis::ABS_MT_POSITION_Y, y),
            key(KeyCode::BTN_TOUCH, 1),
        ])?;
        // A person's tap is not shorter.
        sleep(Duration::from_millis(60));
        panel.emit(&[
            abs(Axis::ABS_MT_TRACKING_ID, -1),
            key(KeyCode::BTN_TOUCH, 0),
        ])?;
    }
    Ok(())
}
