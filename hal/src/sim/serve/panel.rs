//! The panel's, touch's and keys' part of the control socket. What they do to what is seen is the screen's.

use std::io::Read;
use std::sync::PoisonError;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use super::{Connection, Trouble, trouble};
use crate::capability::panel::Frame;
use crate::capability::touch::{CaseKey, Input};
use crate::sim::request::{Capability, How};
use crate::sim::screen::{self, GEOMETRY};

impl Connection {
    pub(super) fn panel_take(&self) -> Result<Value, Trouble> {
        self.may_use(Capability::Panel)?;
        self.of_panel(|id, world| world.screen.take(id), How::Busy)?;
        Ok(json!({
            "width_px": GEOMETRY.width_px,
            "height_px": GEOMETRY.height_px,
            "width_mm": GEOMETRY.width_mm,
            "height_mm": GEOMETRY.height_mm,
        }))
    }

    pub(super) fn panel_show(
        &mut self,
        (width_px, height_px): (u16, u16),
        text: String,
        stream: &mut impl Read,
    ) -> Result<Value, Trouble> {
        let length = usize::from(width_px) * usize::from(height_px);
        let largest = usize::from(GEOMETRY.width_px) * usize::from(GEOMETRY.height_px);
        if length > largest {
            return Err(Trouble::from("a frame has the panel's size".to_owned()));
        }
        let luma = self.raw_bytes(length, stream)?;
        self.may_use(Capability::Panel)?;
        let frame = Frame {
            width_px,
            height_px,
            luma,
        };
        self.of_panel(|id, world| world.screen.show(id, frame, text), How::Broken)
    }

    pub(super) fn panel_light(&self, percent: u8) -> Result<Value, Trouble> {
        self.may_use(Capability::Panel)?;
        self.of_panel(|id, world| world.screen.light(id, percent), How::Broken)
    }

    pub(super) fn panel_release(&self) -> Result<Value, Trouble> {
        self.of_panel(|id, world| world.screen.release(id), How::Busy)
    }

    fn of_panel(
        &self,
        act: impl FnOnce(u64, &mut crate::sim::world::World) -> Result<(), String>,
        how: How,
    ) -> Result<Value, Trouble> {
        let done = act(self.id, &mut self.simulator.world());
        self.simulator.changed.notify_all();
        done.map_err(|sentence| trouble(how, &sentence))?;
        Ok(json!({"ok": true}))
    }

    /// The next input after `seen`, or `{"input":null}` after `longest`; `"newest"` is where a new driver begins.
    pub(super) fn await_input(&self, seen: u64, longest: Duration) -> Value {
        let world = self.simulator.world();
        let waited = self
            .simulator
            .changed
            .wait_timeout_while(world, longest, |world| {
                world.screen.input_after(seen).is_none()
            });
        let (world, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let newest = world.screen.happened();
        match world.screen.input_after(seen) {
            None => json!({"seen": seen, "newest": newest, "input": null}),
            Some((at, Input::Key(key))) => {
                let key = match key {
                    CaseKey::Power => "power",
                    CaseKey::Other => "other",
                };
                json!({"seen": at, "newest": newest, "input": {"key": key}})
            }
            Some((at, Input::Touch { phase, x, y })) => {
                json!({"seen": at, "newest": newest, "input": {"phase": phase, "x": x, "y": y}})
            }
        }
    }

    /// What is seen, with its pixels unless the asker has them.
    pub(super) fn screen(&self, seen: Option<u64>) -> Result<Value, Trouble> {
        let (mut told, frame) = {
            let world = self.simulator.world();
            let session = world.session_now();
            let told = world.screen.described(session);
            let known = seen == Some(world.screen.version());
            (told, (!known).then(|| world.screen.seen(session)))
        };
        if let Some(frame) = frame {
            let png = screen::encode(&frame)?;
            if let Some(told) = told.as_object_mut() {
                told.insert("png".into(), BASE64_STANDARD.encode(png).into());
            }
        }
        Ok(told)
    }
}
