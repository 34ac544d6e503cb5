-- name: lock
-- Two processes that start together migrate one after the other; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(hashtext('izin.migrations'))

-- name: create-table
-- The migrations that have run, with the digest of each.
CREATE TABLE IF NOT EXISTS migrations (
    name       text PRIMARY KEY,
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: has-table
-- Null where the ledger is empty.
SELECT to_regclass('migrations')::text

-- name: applied
-- The migrations that have run so far.
SELECT name, digest FROM migrations ORDER BY name

-- name: add
-- Record a migration that has run.
INSERT INTO migrations (name, digest) VALUES (%(name)s, %(digest)s)
