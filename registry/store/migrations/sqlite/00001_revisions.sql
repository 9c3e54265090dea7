-- +goose Up
CREATE TABLE registry (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    id      TEXT    NOT NULL
) STRICT;
INSERT INTO registry (one, id) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE revision (
    number      INTEGER PRIMARY KEY CHECK (number > 0),
    digest      TEXT    NOT NULL, -- of the definitions
    applied     INTEGER NOT NULL, -- microseconds since 1970, UTC
    applied_by  TEXT    NOT NULL,
    git_commit  TEXT    NOT NULL,
    tool        TEXT    NOT NULL,
    summary     TEXT    NOT NULL,
    definitions BLOB    NOT NULL, -- JSON
    checksum    BLOB    NOT NULL  -- SHA-256 of the column definitions
) STRICT;

-- +goose Down
DROP TABLE revision;
DROP TABLE registry;
