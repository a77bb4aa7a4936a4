-- Schema 3 to 4: changes that two machines made apart, and what delegates are told. Builds of version 3 made these beside it.
CREATE TABLE IF NOT EXISTS fork (id INTEGER PRIMARY KEY AUTOINCREMENT, seen_at INTEGER NOT NULL,
  what TEXT NOT NULL, ended_at INTEGER, outcome TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE IF NOT EXISTS weighed (number INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS notice (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, published INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS noticed (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
