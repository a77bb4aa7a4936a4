-- The agent's database. The records are the state; the other tables hold bytes that were made from decisions.
CREATE TABLE record (id INTEGER PRIMARY KEY AUTOINCREMENT, bytes BLOB NOT NULL);
CREATE TABLE chain (id INTEGER PRIMARY KEY CHECK (id = 1), head BLOB NOT NULL);
CREATE TABLE receipt (counter INTEGER PRIMARY KEY, command BLOB NOT NULL, envelope BLOB NOT NULL);
CREATE INDEX receipt_command ON receipt (command);
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, receipt INTEGER NOT NULL);
-- Positions as they were found; sealed anew for the readers of the day each time they are sent. The times say how old
-- one is: since which start of the phone, and by the wall clock where that was synchronised.
CREATE TABLE report (
    counter INTEGER PRIMARY KEY,
    position BLOB NOT NULL,
    boot BLOB NOT NULL,
    boottime_ms INTEGER NOT NULL,
    wall_s INTEGER
);
-- A row with left_out above 0 stands for so many entries that were left out; its hash is the last one's, so that the
-- chain goes on.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    entry TEXT NOT NULL,
    hash BLOB NOT NULL,
    left_out INTEGER NOT NULL DEFAULT 0
);
