-- Schema 1 to 2: when a beacon was made and what it vouched for, when a phone was put out, where the stored receipts begin.
-- The first version made these three beside its schema, the earliest builds of it not at all.
CREATE TABLE IF NOT EXISTS client (id BLOB PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS unwanted (topic TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS recovering (one INTEGER PRIMARY KEY CHECK (one = 1)) STRICT;

ALTER TABLE device ADD COLUMN beacon_made_at INTEGER;
ALTER TABLE device ADD COLUMN revoked_at INTEGER;
ALTER TABLE device ADD COLUMN receipts_from INTEGER NOT NULL DEFAULT 0;
UPDATE device SET revoked_at = (SELECT max(at) FROM news WHERE news.device = device.id AND kind = 'revoked')
  WHERE standing = 'revoked';

CREATE TABLE vouched (
  device BLOB NOT NULL REFERENCES device,
  counter INTEGER NOT NULL,
  receipts INTEGER NOT NULL,
  heard_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  PRIMARY KEY (device, counter)
) STRICT;
