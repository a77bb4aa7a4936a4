-- The owner's state, version 2; older ones become this by migrations/. Times are milliseconds since 1970 UTC by this machine's clock.
CREATE TABLE account (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id BLOB NOT NULL,
  broker TEXT NOT NULL,
  ca TEXT NOT NULL,
  root BLOB NOT NULL,
  kit BLOB NOT NULL,
  signing BLOB NOT NULL,
  reading BLOB NOT NULL,
  tls_certificate TEXT NOT NULL,
  tls_key TEXT NOT NULL,
  session BLOB NOT NULL,
  next_seq INTEGER NOT NULL DEFAULT 1,
  authority BLOB NOT NULL,
  authority_version INTEGER NOT NULL,
  crl_number INTEGER NOT NULL,
  keyring BLOB NOT NULL,
  keyring_published INTEGER NOT NULL DEFAULT 0,
  keyring_stale INTEGER NOT NULL DEFAULT 0,
  keyring_offered BLOB
) STRICT;

CREATE TABLE device (
  id BLOB PRIMARY KEY,
  name TEXT NOT NULL,
  standing TEXT NOT NULL CHECK (standing IN ('invited', 'claimed', 'enrolled', 'revoked')),
  epoch INTEGER NOT NULL,
  tls_serial BLOB NOT NULL,
  secret BLOB,
  claim BLOB,
  certificate BLOB NOT NULL DEFAULT x'',
  key_set BLOB NOT NULL DEFAULT x'',
  key_set_version INTEGER NOT NULL DEFAULT 0,
  answer BLOB,
  fingerprint TEXT NOT NULL DEFAULT '',
  added_at INTEGER NOT NULL,
  last_contact INTEGER,
  beacon BLOB,
  beacon_counter INTEGER NOT NULL DEFAULT 0,
  beacon_live_at INTEGER,
  reports_from INTEGER,
  retention_days INTEGER,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  -- When the newest beacon was made, as far as that is known.
  beacon_made_at INTEGER,
  -- When the phone was put out.
  revoked_at INTEGER,
  -- Receipts below this number were stored here and are forgotten.
  receipts_from INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX device_name ON device (name) WHERE standing <> 'revoked';

CREATE TABLE command (
  id BLOB PRIMARY KEY,
  device BLOB NOT NULL REFERENCES device,
  op TEXT NOT NULL,
  issued_at INTEGER NOT NULL,
  not_after_s INTEGER,
  state TEXT NOT NULL,
  finished INTEGER NOT NULL DEFAULT 0,
  seq INTEGER,
  envelope BLOB,
  signed_times INTEGER NOT NULL DEFAULT 0,
  published_at INTEGER,
  published_times INTEGER NOT NULL DEFAULT 0,
  report INTEGER
) STRICT;
CREATE INDEX command_open ON command (finished, issued_at);

CREATE TABLE step (
  command BLOB NOT NULL REFERENCES command,
  number INTEGER NOT NULL,
  state TEXT NOT NULL,
  at INTEGER NOT NULL,
  witness TEXT NOT NULL CHECK (witness IN ('owner', 'phone')),
  detail TEXT NOT NULL,
  PRIMARY KEY (command, number)
) STRICT;

CREATE TABLE receipt (
  device BLOB NOT NULL REFERENCES device,
  counter INTEGER NOT NULL,
  command BLOB NOT NULL,
  previous BLOB NOT NULL,
  head BLOB NOT NULL,
  bytes BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (device, counter, head)
) STRICT;

CREATE TABLE report (
  device BLOB NOT NULL REFERENCES device,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  newest_at INTEGER NOT NULL,
  PRIMARY KEY (device, first, count)
) STRICT;

-- What happened, for watch, log --follow and every other process that waits.
CREATE TABLE news (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  device BLOB NOT NULL,
  command BLOB,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;

-- What the newest beacons vouched for, and until when a receipt that one of them counts may be on its way.
CREATE TABLE vouched (
  device BLOB NOT NULL REFERENCES device,
  counter INTEGER NOT NULL,
  receipts INTEGER NOT NULL,
  heard_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  PRIMARY KEY (device, counter)
) STRICT;

-- The names of the account's clients.
CREATE TABLE client (id BLOB PRIMARY KEY, name TEXT NOT NULL) STRICT;

-- Topics whose retained messages the broker still has to forget.
CREATE TABLE unwanted (topic TEXT PRIMARY KEY) STRICT;

-- There while `recover` is at work: the account in here is not a client of itself yet.
CREATE TABLE recovering (one INTEGER PRIMARY KEY CHECK (one = 1)) STRICT;

-- What a phone said before its state was set back, or before it was enrolled again, and the beacons by which that is noticed.
CREATE TABLE past (device BLOB NOT NULL, era INTEGER NOT NULL, certificate BLOB NOT NULL,
  why TEXT NOT NULL, ended_at INTEGER NOT NULL, receipts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (device, era)) STRICT;
CREATE TABLE past_report (device BLOB NOT NULL, era INTEGER NOT NULL, first INTEGER NOT NULL,
  count INTEGER NOT NULL, bytes BLOB NOT NULL, received_at INTEGER NOT NULL, newest_at INTEGER NOT NULL,
  PRIMARY KEY (device, era, first, count)) STRICT;
CREATE TABLE past_receipt (device BLOB NOT NULL, era INTEGER NOT NULL, counter INTEGER NOT NULL,
  command BLOB NOT NULL, previous BLOB NOT NULL, head BLOB NOT NULL, bytes BLOB NOT NULL,
  received_at INTEGER NOT NULL, PRIMARY KEY (device, era, counter, head)) STRICT;
CREATE TABLE beacon_mark (device BLOB NOT NULL, counter INTEGER NOT NULL, nonce BLOB NOT NULL,
  receipts INTEGER NOT NULL, head BLOB NOT NULL, reports INTEGER NOT NULL, past INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (device, counter, nonce)) STRICT;
CREATE TABLE retired (serial BLOB PRIMARY KEY) STRICT;
CREATE TABLE set_back (device BLOB PRIMARY KEY, counter INTEGER NOT NULL, nonce BLOB,
  receipts INTEGER NOT NULL, head BLOB NOT NULL, reports INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0,
  noticed_at INTEGER NOT NULL) STRICT;

-- The newest time that this machine's clock has shown, and from when on it is believed when it deletes something.
CREATE TABLE clock_seen (one INTEGER PRIMARY KEY CHECK (one = 1), latest INTEGER NOT NULL, believed_from INTEGER NOT NULL) STRICT;

-- What was seen of changes that two machines made apart or of older states that the broker showed, and the keyrings that were compared with ours.
CREATE TABLE fork (id INTEGER PRIMARY KEY AUTOINCREMENT, seen_at INTEGER NOT NULL,
  what TEXT NOT NULL, ended_at INTEGER, outcome TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE weighed (number INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE) STRICT;

-- What each delegate is told, and on a delegate's machine the newest notice that was taken over.
CREATE TABLE notice (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, published INTEGER NOT NULL) STRICT;
CREATE TABLE noticed (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
