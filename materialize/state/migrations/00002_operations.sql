-- +goose Up

INSERT INTO counter (name, next) VALUES ('swap', 1);

-- What a rebuild that was cut short has written, and under which session of the store.
ALTER TABLE generation ADD COLUMN session TEXT NOT NULL DEFAULT '';
-- The number of the swap that retired it; 0: none has.
ALTER TABLE generation ADD COLUMN swap BIGINT NOT NULL DEFAULT 0;

-- Digest of the file's footer, empty where it was not taken.
ALTER TABLE ledger ADD COLUMN footer TEXT NOT NULL DEFAULT '';
-- The file was modified so shortly before it was listed that it may have changed since without showing it.
ALTER TABLE ledger ADD COLUMN unsettled BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE run ADD COLUMN queued BIGINT;
ALTER TABLE run ADD COLUMN expires BIGINT NOT NULL DEFAULT 0; -- while queued: until its process must have given a sign of life
ALTER TABLE run ADD COLUMN process TEXT NOT NULL DEFAULT '';  -- that queued it: as lease.process
ALTER TABLE run ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1;
ALTER TABLE run ADD COLUMN retry_of BIGINT NOT NULL DEFAULT 0; -- the run of attempt 1; 0: this is it
ALTER TABLE run ADD COLUMN asked TEXT NOT NULL DEFAULT '{}';   -- JSON: what was asked for
ALTER TABLE run ADD COLUMN bytes_read BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN bytes_written BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN rejects TEXT NOT NULL DEFAULT '[]'; -- JSON: rows that could not be used, by reason
ALTER TABLE run ADD COLUMN phases TEXT NOT NULL DEFAULT '[]';  -- JSON: how long each took
ALTER TABLE run ADD COLUMN cancel_asked BIGINT;
ALTER TABLE run ADD COLUMN cancel_by TEXT NOT NULL DEFAULT '';

-- Views whose schedule rests.
CREATE TABLE pause (
    view_name TEXT   NOT NULL,
    store     TEXT   NOT NULL,
    since     BIGINT NOT NULL,
    paused_by TEXT   NOT NULL,
    PRIMARY KEY (view_name, store)
);

-- Servers that answer lookups from a store. A generation stays until every live one has seen the swap that retired it.
CREATE TABLE server (
    id       TEXT   PRIMARY KEY,
    store    TEXT   NOT NULL,
    holder   TEXT   NOT NULL, -- user@host:pid
    process  TEXT   NOT NULL, -- as lease.process
    started  BIGINT NOT NULL,
    expires  BIGINT NOT NULL, -- unless it gives a sign of life
    swap     BIGINT NOT NULL, -- the last swap that it has seen
    revision BIGINT NOT NULL  -- of the definitions that it answers by
);
