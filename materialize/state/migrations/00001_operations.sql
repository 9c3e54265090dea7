-- +goose Up

-- Instants are microseconds since 1970 UTC. Ids come from counter, so that none is ever used twice.

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    next BIGINT NOT NULL
);
INSERT INTO counter (name, next) VALUES ('keyspace', 1), ('generation', 1), ('run', 1);

-- One row: the registry's short id in stores that are shared.
CREATE TABLE prefix (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    prefix   TEXT NOT NULL
);

CREATE TABLE keyspace (
    id       BIGINT PRIMARY KEY,
    entities TEXT NOT NULL UNIQUE -- names, sorted, with commas between
);

-- Every incarnation of an online store that was ever claimed.
CREATE TABLE incarnation (
    incarnation TEXT PRIMARY KEY,
    store       TEXT   NOT NULL, -- the store's address, without secrets
    seen        BIGINT NOT NULL
);

CREATE TABLE generation (
    id           BIGINT PRIMARY KEY,
    view_name    TEXT   NOT NULL,
    incarnation  TEXT   NOT NULL REFERENCES incarnation (incarnation),
    keyspace     BIGINT NOT NULL REFERENCES keyspace (id),
    digest       TEXT   NOT NULL,
    fields       TEXT   NOT NULL, -- JSON, in declared order
    join_keys    TEXT   NOT NULL, -- JSON, in key order
    ttl          BIGINT NOT NULL, -- least ttl its runs read with; 0: none
    state        TEXT   NOT NULL, -- filling, serving, retired, dropped
    last_run     BIGINT NOT NULL DEFAULT 0, -- complete
    t            BIGINT,          -- greatest T of its complete runs
    reached      BIGINT,          -- greatest T of the runs that may have written, complete or not
    newest_event BIGINT,
    row_count    BIGINT NOT NULL DEFAULT 0,
    diverged     BIGINT,
    begun        BIGINT NOT NULL,
    retired      BIGINT
);
CREATE INDEX generation_view ON generation (view_name, incarnation, state);

CREATE TABLE ledger (
    generation BIGINT NOT NULL REFERENCES generation (id),
    path       TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    identity   TEXT   NOT NULL,
    run        BIGINT NOT NULL,
    read_at    BIGINT NOT NULL,
    held       BIGINT NOT NULL, -- rows dated after the run's T
    held_from  BIGINT,          -- least event time of those
    PRIMARY KEY (generation, path)
);

-- Files whose rows an unfinished run may have written, beside those of the ledger.
CREATE TABLE attempt (
    generation BIGINT NOT NULL REFERENCES generation (id),
    path       TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    identity   TEXT   NOT NULL,
    PRIMARY KEY (generation, path, identity, size)
);

CREATE TABLE run (
    id         BIGINT PRIMARY KEY,
    store      TEXT   NOT NULL,
    view_name  TEXT   NOT NULL,
    token      BIGINT NOT NULL, -- of the lease it ran under
    state      TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    cause      TEXT   NOT NULL, -- command, schedule
    run_by     TEXT   NOT NULL,
    is_full    BOOLEAN NOT NULL,
    reason     TEXT   NOT NULL,
    t          BIGINT,
    started    BIGINT NOT NULL,
    finished   BIGINT,
    files      BIGINT NOT NULL,
    rows_read  BIGINT NOT NULL,
    written    BIGINT NOT NULL,
    older      BIGINT NOT NULL,
    held       BIGINT NOT NULL,
    null_keys  BIGINT NOT NULL,
    ties       BIGINT NOT NULL,
    error      TEXT   NOT NULL
);
CREATE INDEX run_view ON run (store, view_name, id);

CREATE TABLE lease (
    view_name TEXT   NOT NULL,
    store     TEXT   NOT NULL,
    token     BIGINT NOT NULL, -- grows with every holder
    holder    TEXT   NOT NULL,
    process   TEXT   NOT NULL, -- of the holder: pid, start, machine's boot and pid namespace; empty: not known
    taken     BIGINT NOT NULL,
    heartbeat BIGINT NOT NULL,
    expires   BIGINT NOT NULL, -- 0: released
    PRIMARY KEY (view_name, store)
);
