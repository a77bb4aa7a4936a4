-- From version 1 to 2: a ledger may leave old entries out of whoever has most of them.
ALTER TABLE ledger ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
