//! The phone's own programs: `homingd agent` and `homingd siren` on a simulated body, as a supervisor would run them. It must not look inside their state.

use crate::wait::PATIENCE;
use crate::{Answer, Gpsd, LostScreen, Proc, Sim, ours, wait_until};
use homing_protocol::actor::{LONGEST_PACKET, Request};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A handset with homingd installed; enrolled or not, running or not.
#[derive(Debug)]
pub struct Handset {
    folder: PathBuf,
    config: PathBuf,
    clock_offset_s: i64,
    clock_rate: u32,
    crash_at: Option<u32>,
    agent: Option<Proc>,
    siren: Option<Proc>,
    actor: Option<Proc>,
    lost_screen: Option<LostScreen>,
    is_suspended: bool,
    /// Whether it was made lockable once: then it is at each start.
    is_lockable: bool,
}

impl Handset {
    /// Writes `homingd.toml` in `folder` with state and runtime folders inside it, on the body of `sim`.
    /// With a gpsd, positions come from it; else from the simulator directly.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[track_caller]
    #[must_use]
    pub fn new(folder: &Path, sim: &Sim, gpsd: Option<&Gpsd>) -> Self {
        let position = gpsd.map_or_else(String::new, |gpsd| {
            format!(
                "\n[hal.position]\ndriver = \"gpsd\"\ngpsd = \"127.0.0.1:{}\"\n",
                gpsd.port()
            )
        });
        let text = format!(
            "state_dir = \"{0}/state\"\nruntime_dir = \"{0}/run\"\n\n[hal]\nbackend = \"sim\"\n\n\
             [hal.sim]\nsocket = \"{1}\"\n{position}",
            folder.display(),
            sim.socket().display()
        );
        for inside in ["state/siren", "run", "homingd.d"] {
            let path = folder.join(inside);
            std::fs::create_dir_all(&path)
                .unwrap_or_else(|error| panic!("could not make {}: {error}", path.display()));
        }
        let handset = Self {
            folder: folder.to_path_buf(),
            config: folder.join("homingd.toml"),
            clock_offset_s: 0,
            clock_rate: 1,
            crash_at: None,
            agent: None,
            siren: None,
            actor: None,
            lost_screen: None,
            is_suspended: false,
            is_lockable: false,
        };
        std::fs::write(&handset.config, text).unwrap_or_else(|error| {
            panic!("could not write {}: {error}", handset.config.display())
        });
        handset
    }

    /// Adds a fragment `homingd.d/NAME.toml`, for settings that one scenario needs. Takes effect at the next start or reload.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn configure(&self, name: &str, text: &str) {
        let path = self.folder.join("homingd.d").join(format!("{name}.toml"));
        std::fs::write(&path, text)
            .unwrap_or_else(|error| panic!("could not write {}: {error}", path.display()));
    }

    /// From the agent's next start on, its wall clock is off by so many seconds.
    pub fn set_clock_offset(&mut self, seconds: i64) {
        self.clock_offset_s = seconds;
    }

    /// From the next start of agent and siren on, their clock since boot goes so many times faster.
    pub fn set_clock_rate(&mut self, times: u32) {
        self.clock_rate = times;
    }

    /// From the agent's next start on, it ends as by a power cut at this point: odd numbers lie before a commit to
    /// the journal, even ones after it. `None` ends that.
    pub fn set_crash_point(&mut self, point: Option<u32>) {
        self.crash_at = point;
    }

    /// Its configuration file, for commands a person would type.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its state folder (`/var/lib/homing` on a real phone).
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Runs any `homingd` subcommand to its end, as the phone's user would.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    #[must_use]
    pub fn homingd(&self, arguments: &[&str]) -> Answer {
        self.homingd_told(arguments, "")
    }

    /// The same, to be run later and without this handset.
    pub(crate) fn question(&self, arguments: &[&str]) -> impl FnOnce() -> Answer + Send + use<> {
        let (mut command, folder) = (self.command(arguments), self.folder.clone());
        move || Answer::of("homingd", &folder, &mut command, "", PATIENCE)
    }

    /// The same with these lines as its input.
    #[track_caller]
    #[must_use]
    pub fn homingd_told(&self, arguments: &[&str], lines: &str) -> Answer {
        let mut command = self.command(arguments);
        Answer::of("homingd", &self.folder, &mut command, lines, PATIENCE)
    }

    /// `homingd enrol BUNDLE`: joins the account, with consent.
    ///
    /// # Panics
    /// When it fails; with what it said.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        reason = "most scenarios only need it to succeed"
    )]
    pub fn enrol(&self, bundle: &Path) -> Answer {
        self.homingd(&["enrol", &bundle.display().to_string(), "--yes"])
            .expect_success()
    }

    /// Starts agent and resident siren, those that do not run yet; and what locks it, on a phone that was lockable before.
    ///
    /// # Panics
    /// When either cannot be started.
    #[track_caller]
    pub fn start(&mut self) {
        if self.is_lockable {
            self.start_lock();
        }
        self.start_agent();
        self.start_siren();
    }

    /// Starts the agent, unless it runs.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start_agent(&mut self) {
        if self
            .agent
            .as_mut()
            .is_none_or(|agent| agent.ended().is_some())
        {
            let offset = self.clock_offset_s.to_string();
            let crash_at = self.crash_at.map(|point| point.to_string());
            let rate = self.clock_rate.to_string();
            let mut arguments = vec!["agent", "--clock-rate", &rate];
            if self.clock_offset_s != 0 {
                arguments.extend(["--clock-offset", &offset]);
            }
            if let Some(point) = &crash_at {
                arguments.extend(["--crash-at", point]);
            }
            self.agent = Some(self.resident("agent", &arguments));
        }
    }

    /// Starts the siren's resident process, unless it runs.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start_siren(&mut self) {
        if self
            .siren
            .as_mut()
            .is_none_or(|siren| siren.ended().is_some())
        {
            let rate = self.clock_rate.to_string();
            let arguments = ["siren", "--resident", "--clock-rate", &rate];
            self.siren = Some(self.resident("siren", &arguments));
        }
    }

    /// Starts what makes a phone lockable, those that do not run yet: the privileged half, ready when this returns, and
    /// the lost screen.
    ///
    /// # Panics
    /// When either cannot be started.
    #[track_caller]
    pub fn start_lock(&mut self) {
        self.is_lockable = true;
        if self
            .actor
            .as_mut()
            .is_none_or(|actor| actor.ended().is_some())
        {
            let rate = self.clock_rate.to_string();
            self.actor = Some(self.resident("actor", &["actor", "--clock-rate", &rate]));
            let socket = self.actor_socket();
            wait_until(PATIENCE, "the privileged half", || {
                let answers = ask_actor(&socket, &Request::Standing.encode());
                answers.is_ok().then_some(())
            });
        }
        if self.lost_screen.is_none() {
            self.lost_screen = Some(LostScreen::start(&self.folder, &self.config));
        }
    }

    /// SIGKILL to the privileged half.
    pub fn kill9_actor(&mut self) {
        if let Some(mut actor) = self.actor.take() {
            actor.kill9();
        }
    }

    /// SIGKILL to the lost screen.
    pub fn kill9_lost_screen(&mut self) {
        if let Some(mut screen) = self.lost_screen.take() {
            screen.kill9();
        }
    }

    /// Where the privileged half is asked.
    #[must_use]
    pub fn actor_socket(&self) -> PathBuf {
        self.folder.join("run/actor.sock")
    }

    /// The file whose presence is lost mode.
    #[must_use]
    pub fn notice(&self) -> PathBuf {
        self.state().join("actor/shown/notice.json")
    }

    /// One packet to the privileged half, as whoever runs as the agent's user can send it; its answer's bytes, empty where
    /// it only closes.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[track_caller]
    #[must_use]
    pub fn tell_actor(&self, packet: &[u8]) -> Vec<u8> {
        ask_actor(&self.actor_socket(), packet)
            .unwrap_or_else(|error| panic!("the privileged half does not answer: {error}"))
    }

    /// A connection to the privileged half on which nobody says anything.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    #[must_use]
    pub fn call_actor(&self) -> UnixStream {
        call_actor(&self.actor_socket())
            .unwrap_or_else(|error| panic!("the privileged half cannot be called: {error}"))
    }

    /// SIGKILL to the agent: a crash. The siren is another process and goes on.
    pub fn kill9_agent(&mut self) {
        self.is_suspended = false;
        if let Some(mut agent) = self.agent.take() {
            agent.kill9();
        }
    }

    /// SIGKILL to the siren.
    pub fn kill9_siren(&mut self) {
        if let Some(mut siren) = self.siren.take() {
            siren.kill9();
        }
    }

    /// SIGKILL to everything: the battery is pulled out.
    pub fn cut_power(&mut self) {
        self.kill9_agent();
        self.kill9_siren();
        self.kill9_actor();
        self.kill9_lost_screen();
    }

    /// Stops everything where it stands, as a suspended phone's processor does: time goes on without it.
    pub fn suspend(&mut self) {
        self.is_suspended = true;
        self.signal(Signal::SIGSTOP);
    }

    /// Lets everything go on.
    pub fn resume(&mut self) {
        self.is_suspended = false;
        self.signal(Signal::SIGCONT);
    }

    /// Whether it sleeps.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// Whether its agent was started and has not ended.
    pub fn runs(&mut self) -> bool {
        let agent = self.agent.as_mut();
        agent.is_some_and(|agent| agent.ended().is_none())
    }

    fn signal(&self, signal: Signal) {
        let processes = [&self.agent, &self.siren, &self.actor];
        for process in processes.into_iter().flatten() {
            process.signal(signal);
        }
        if let Some(screen) = &self.lost_screen {
            screen.signal(signal);
        }
    }

    /// SIGTERM to everything, and waits: the phone is switched off in order.
    ///
    /// # Panics
    /// When either does not end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.resume();
        let processes = [self.agent.take(), self.siren.take(), self.actor.take()];
        for mut process in processes.into_iter().flatten() {
            process.terminate(PATIENCE);
        }
        if let Some(mut screen) = self.lost_screen.take() {
            screen.stop();
        }
    }

    /// SIGHUP to the agent: it reads its configuration again.
    pub fn reload(&self) {
        if let Some(agent) = &self.agent {
            agent.signal(Signal::SIGHUP);
        }
    }

    /// The agent's process, if it was started and not killed.
    pub fn agent(&mut self) -> Option<&mut Proc> {
        self.agent.as_mut()
    }

    /// Everything the agent has logged in this scenario, through all its starts.
    #[must_use]
    pub fn agent_log(&self) -> String {
        std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }

    fn resident(&self, name: &str, arguments: &[&str]) -> Proc {
        let mut command = self.command(arguments);
        Proc::start(name, &self.folder, command.stdin(Stdio::null()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ours("homingd"));
        command
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .arg("--allow-simulator")
            // A supervisor of the machine the tests run on must not be told about our agent.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC");
        command
    }
}

/// A socket of packets; a stream of the standard library reads and writes one packet at a time.
fn call_actor(path: &Path) -> std::io::Result<UnixStream> {
    let kind = SockType::SeqPacket;
    let made = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    connect(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(made);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ask_actor(path: &Path, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = call_actor(path)?;
    stream.write_all(packet)?;
    let mut answer = vec![0; LONGEST_PACKET];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}
