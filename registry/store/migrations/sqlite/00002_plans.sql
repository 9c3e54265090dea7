-- +goose Up
ALTER TABLE revision ADD COLUMN rollback_of   INTEGER; -- the revision that it equals, where it was made to
ALTER TABLE revision ADD COLUMN plan          BLOB;    -- JSON; NULL for revisions of older versions
ALTER TABLE revision ADD COLUMN seal          BLOB;    -- SHA-256 of the revision as an export has it; NULL as plan

-- +goose Down
ALTER TABLE revision DROP COLUMN seal;
ALTER TABLE revision DROP COLUMN plan;
ALTER TABLE revision DROP COLUMN rollback_of;
