-- +goose Up
CREATE TABLE registry (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    id      TEXT    NOT NULL
);
INSERT INTO registry (one, id) VALUES (1, replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE revision (
    number      BIGINT PRIMARY KEY CHECK (number > 0),
    digest      TEXT   NOT NULL, -- of the definitions
    applied     BIGINT NOT NULL, -- microseconds since 1970, UTC
    applied_by  TEXT   NOT NULL,
    git_commit  TEXT   NOT NULL,
    tool        TEXT   NOT NULL,
    summary     TEXT   NOT NULL,
    definitions BYTEA  NOT NULL, -- JSON
    checksum    BYTEA  NOT NULL  -- SHA-256 of the column definitions
);

-- +goose Down
DROP TABLE revision;
DROP TABLE registry;
