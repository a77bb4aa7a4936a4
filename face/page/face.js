// The page's hands and ears: shows what the simulator says, passes on what a person does. It decides nothing and keeps nothing.

const byId = (id) => document.getElementById(id);
const LOOK_MS = 250;
const LEDGER_MS = 1500;
// The room is heard this much later, so that a late answer leaves no gap.
const DELAY_S = 0.8;

const CARRIERS = { wifi: "Wi-Fi", cellular: "4G", ethernet: "Ethernet", vpn: "VPN", unknown: "network ?", none: "no network" };
const ORDERS = {
  locate: "Where are you?", ring: "Ring!", "ring-stop": "Stop ringing", status: "How are you?",
  "resend-reports": "Positions again, please", resume: "Count on from here", unknown: "An order it does not know",
};

async function ask(path, body) {
  const sent = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-homing-face": "1" },
  };
  const response = await fetch(path, { ...sent, cache: "no-store" });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `HTTP ${response.status}`);
  return answer;
}

function complain(error) {
  byId("trouble").textContent = error === null ? "" : `${error.message ?? error}`;
}

// What was asked before a change was made must not be drawn after it: the switch would jump back.
let asked = 0;
let drawn = 0;
let acting = 0;

async function act(path, body) {
  acting += 1;
  try {
    await ask(path, body);
    complain(null);
  } catch (error) {
    complain(error);
  }
  acting -= 1;
  drawn = asked + 1;
  await look();
}

// A control that somebody holds is not moved under their fingers.
const show = (control, set) => { if (document.activeElement !== control || control.type === "checkbox") set(control); };

// The panel's pixels are fetched when they are others than those that are shown, and never faster than they arrive.
const panel = { wanted: null, shown: null, loading: false };

function showPanel() {
  if (panel.loading || panel.wanted === panel.shown) return;
  const version = panel.wanted;
  panel.loading = true;
  const done = (loaded) => () => {
    panel.loading = false;
    if (loaded) { panel.shown = version; byId("panel").dataset.version = version; }
  };
  byId("panel").onload = done(true);
  byId("panel").onerror = done(false);
  byId("panel").src = `screen.png?version=${version}`;
}

function draw({ world, standing, yours }) {
  panel.wanted = world.screen.version;
  showPanel();
  byId("panel").alt = world.screen.text.length === 0 ? "The phone's screen is dark" : world.screen.text.join("\n");

  const phone = byId("phone");
  const on = standing === "on";
  phone.dataset.standing = standing;
  phone.classList.toggle("heard", world.siren.heard);
  phone.classList.toggle("shaking", world.vibrator.on);
  phone.classList.toggle("torch-on", world.torch.on);
  byId("carrier").textContent = CARRIERS[world.network.kind] ?? world.network.kind;
  byId("charge").textContent = `${world.battery.charging === "charging" ? "⚡ " : ""}${world.battery.percent} %`;
  byId("clock").textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const although = world.siren.muted_by_user ? "The siren sounds, although the phone was muted" : "The siren sounds";
  byId("sounding").textContent = world.siren.heard ? although : world.mixer.mute ? "Muted" : "";
  const level = world.siren.level_dbfs <= -119 ? "silence" : `${world.siren.level_dbfs.toFixed(0)} dBFS`;
  byId("heard").textContent = world.siren.heard ? `the siren, ${level}` : level;
  byId("pulses").textContent = `${world.vibrator.on ? "shaking" : "still"}, ${world.torch.on ? "shining" : "dark"}`;
  const side = (value, plus, minus) => `${Math.abs(value).toFixed(5)}° ${value < 0 ? minus : plus}`;
  byId("place").textContent = `${side(world.position.lat, "N", "S")}, ${side(world.position.lon, "E", "W")}`;

  show(byId("mute"), (box) => { box.checked = world.mixer.mute; });
  show(byId("headset"), (box) => { box.checked = world.mixer.route === "headset"; });
  show(byId("volume"), (slider) => { slider.value = world.mixer.volume; });
  show(byId("percent"), (slider) => { slider.value = world.battery.percent; });
  show(byId("charging"), (box) => { box.checked = world.battery.charging === "charging"; });
  show(byId("indoors"), (box) => { box.checked = world.position.indoors; });
  for (const radio of document.getElementsByName("carrier")) radio.checked = radio.value === world.network.kind;
  for (const button of document.querySelectorAll("[data-to]")) button.setAttribute("aria-pressed", String(button.dataset.to === standing));

  byId("switches").disabled = !yours;
  const state = on ? "It is on." : standing === "asleep" ? "It sleeps: its programs stand still, time does not." : "Its power is cut.";
  byId("whose").textContent = yours ? `The switches are yours. ${state}` : `Watch: the tour uses this phone. ${state}`;
}

async function look() {
  asked += 1;
  const mine = asked;
  try {
    const seen = await ask("world");
    if (mine < drawn || acting > 0) return;
    drawn = mine;
    draw(seen);
    if (byId("trouble").dataset.gone) { delete byId("trouble").dataset.gone; complain(null); }
  } catch (error) {
    byId("phone").dataset.standing = "off";
    byId("trouble").dataset.gone = "1";
    complain(error instanceof TypeError ? "The simulated phone has gone: its program has ended." : error);
  }
}

async function readLedger() {
  let entries;
  try { entries = await ask("ledger"); } catch { return; }
  const orders = new Map();
  for (const entry of entries) {
    if (entry.event === "received") orders.set(entry.command, { word: ORDERS[entry.order] ?? entry.order, time: entry.time, state: "received" });
    else if (orders.has(entry.command)) orders.get(entry.command).state = entry.event;
  }
  const rows = [...orders.values()].reverse().map(({ word, time, state }) => {
    const row = document.createElement("li");
    const at = document.createElement("time");
    at.textContent = new Date(time * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    row.append(at, `${word} – ${state}`);
    return row;
  });
  byId("ledger").replaceChildren(...rows);
}

// The room: stretches of samples, each played at its own moment of the simulator's time, all the same time later.
const room = { context: null, analyser: null, heardTo: 0, offset: null };

async function hear() {
  const { context } = room;
  if (context === null) return;
  try {
    const answer = await ask(`sound?from_us=${room.heardTo}`);
    room.offset ??= context.currentTime - answer.now_us / 1e6 + DELAY_S;
    for (const { at_us: at, pcm } of answer.sound) {
      const bytes = Uint8Array.from(atob(pcm), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      const buffer = context.createBuffer(1, bytes.length / 2, answer.sample_rate);
      const channel = buffer.getChannelData(0);
      for (let index = 0; index < channel.length; index += 1) channel[index] = view.getInt16(index * 2, true) / 32768;
      const source = context.createBufferSource();
      source.buffer = buffer;
      source.connect(room.analyser);
      // A page that was asleep for a while begins anew rather than playing what is past.
      if (at / 1e6 + room.offset < context.currentTime) room.offset = context.currentTime - answer.now_us / 1e6 + DELAY_S;
      source.start(Math.max(at / 1e6 + room.offset, context.currentTime));
    }
    room.heardTo = answer.to_us;
  } catch { /* the page says elsewhere that the phone has gone */ }
  const samples = new Float32Array(room.analyser.fftSize);
  room.analyser.getFloatTimeDomainData(samples);
  const square = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const level = square > 0 ? 10 * Math.log10(square) : -120;
  byId("listening").textContent = level > -60 ? `${level.toFixed(0)} dBFS in your ears` : "It is quiet in the room.";
}

byId("listen").addEventListener("click", async () => {
  if (room.context !== null) {
    await room.context.close();
    Object.assign(room, { context: null, analyser: null, heardTo: 0, offset: null });
    byId("listen").textContent = "Listen to the room";
    byId("listening").textContent = "";
    return;
  }
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  // A siren at full scale is for a street, not for headphones.
  const gain = context.createGain();
  gain.gain.value = 0.25;
  analyser.connect(gain).connect(context.destination);
  Object.assign(room, { context, analyser });
  byId("listen").textContent = "Stop listening";
  await hear();
});

byId("mute").addEventListener("change", (event) => act("set", { set: "mixer", mute: event.target.checked }));
byId("volume").addEventListener("change", (event) => act("set", { set: "mixer", volume: Number(event.target.value) }));
byId("headset").addEventListener("change", (event) => act("set", { set: "route", to: event.target.checked ? "headset" : "speaker" }));
byId("percent").addEventListener("change", (event) => act("set", { set: "battery", percent: Number(event.target.value) }));
byId("charging").addEventListener("change", (event) => act("set", { set: "battery", charging: event.target.checked ? "charging" : "discharging" }));
byId("indoors").addEventListener("change", (event) => act("set", { set: "position", indoors: event.target.checked }));
byId("somewhere").addEventListener("change", (event) => {
  const [lat, lon] = event.target.value.split(",").map(Number);
  event.target.value = "";
  if (Number.isFinite(lat) && Number.isFinite(lon)) act("set", { set: "position", lat, lon });
});
for (const radio of document.getElementsByName("carrier")) radio.addEventListener("change", () => act("set", { set: "network", kind: radio.value }));
for (const button of document.querySelectorAll("[data-to]")) button.addEventListener("click", () => act("standing", { to: button.dataset.to }));

// A finger: its parts reach the phone in their order, each after the one before.
let finger = null;
let told = Promise.resolve();

function touch(phase, event) {
  const box = byId("panel").getBoundingClientRect();
  const part = (at, from, size) => Math.min(1, Math.max(0, (at - from) / size));
  const place = { x: part(event.clientX, box.left, box.width), y: part(event.clientY, box.top, box.height) };
  told = told.then(() => act("set", { set: "touch", phase, ...place }));
}

byId("panel").addEventListener("pointerdown", (event) => {
  if (finger !== null || byId("switches").disabled) return;
  event.preventDefault();
  finger = event.pointerId;
  // A finger that leaves the glass is still followed, so that it is also lifted.
  if (event.isTrusted) byId("panel").setPointerCapture(finger);
  touch("down", event);
});
for (const [type, phase] of [["pointerup", "up"], ["pointercancel", "up"]]) {
  byId("panel").addEventListener(type, (event) => {
    if (event.pointerId !== finger) return;
    finger = null;
    // Lifted elsewhere than it came down: it has moved there first.
    touch("move", event);
    touch(phase, event);
  });
}
byId("power").addEventListener("click", () => { told = told.then(() => act("set", { set: "key", press: "power" })); });

// One question at a time: a phone that answers slowly is not asked faster than it can.
function again(work, every) {
  const turn = async () => {
    await work();
    setTimeout(turn, every);
  };
  turn();
}
again(look, LOOK_MS);
again(readLedger, LEDGER_MS);
again(hear, LOOK_MS);
