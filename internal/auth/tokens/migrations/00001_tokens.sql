-- +goose Up
-- Instants are microseconds since 1970, UTC.
CREATE TABLE token (
    hash       TEXT   PRIMARY KEY, -- SHA-256 of the token, in hex
    name       TEXT   NOT NULL,
    roles      TEXT   NOT NULL,    -- with commas between
    created    BIGINT NOT NULL,
    created_by TEXT   NOT NULL,
    expires    BIGINT,             -- NULL: never
    revoked    BIGINT,             -- NULL: it was not
    revoked_by TEXT   NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked IS NULL;

-- +goose Down
DROP TABLE token;
