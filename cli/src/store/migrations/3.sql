-- Schema 2 to 3: what a phone said before its state was set back or it was enrolled again. Builds of version 2 made these beside it.
CREATE TABLE IF NOT EXISTS past (device BLOB NOT NULL, era INTEGER NOT NULL, certificate BLOB NOT NULL,
  why TEXT NOT NULL, ended_at INTEGER NOT NULL, receipts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (device, era)) STRICT;
CREATE TABLE IF NOT EXISTS past_report (device BLOB NOT NULL, era INTEGER NOT NULL, first INTEGER NOT NULL,
  count INTEGER NOT NULL, bytes BLOB NOT NULL, received_at INTEGER NOT NULL, newest_at INTEGER NOT NULL,
  PRIMARY KEY (device, era, first, count)) STRICT;
CREATE TABLE IF NOT EXISTS past_receipt (device BLOB NOT NULL, era INTEGER NOT NULL, counter INTEGER NOT NULL,
  command BLOB NOT NULL, previous BLOB NOT NULL, head BLOB NOT NULL, bytes BLOB NOT NULL,
  received_at INTEGER NOT NULL, PRIMARY KEY (device, era, counter, head)) STRICT;
CREATE TABLE IF NOT EXISTS beacon_mark (device BLOB NOT NULL, counter INTEGER NOT NULL, nonce BLOB NOT NULL,
  receipts INTEGER NOT NULL, head BLOB NOT NULL, reports INTEGER NOT NULL, past INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (device, counter, nonce)) STRICT;
CREATE TABLE IF NOT EXISTS retired (serial BLOB PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS set_back (device BLOB PRIMARY KEY, counter INTEGER NOT NULL, nonce BLOB,
  receipts INTEGER NOT NULL, head BLOB NOT NULL, reports INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0,
  noticed_at INTEGER NOT NULL) STRICT;

-- The newest time that this machine's clock has shown, and from when on it is believed when it deletes something.
CREATE TABLE clock_seen (one INTEGER PRIMARY KEY CHECK (one = 1), latest INTEGER NOT NULL, believed_from INTEGER NOT NULL) STRICT;
