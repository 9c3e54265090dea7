-- +goose Up

-- Of the request that made it, so that the same request again makes no other; empty: it had none.
ALTER TABLE run ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX run_request ON run (store, view_name, request_id) WHERE request_id <> '';
