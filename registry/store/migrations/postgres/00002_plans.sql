-- +goose Up
ALTER TABLE revision ADD COLUMN rollback_of   BIGINT; -- the revision that it equals, where it was made to
ALTER TABLE revision ADD COLUMN plan          BYTEA;  -- JSON; NULL where it was not recorded, as before this column
ALTER TABLE revision ADD COLUMN plan_checksum BYTEA;  -- SHA-256 of the column plan

-- +goose Down
ALTER TABLE revision DROP COLUMN plan_checksum;
ALTER TABLE revision DROP COLUMN plan;
ALTER TABLE revision DROP COLUMN rollback_of;
