-- name: open
-- The database is a temporary file of this process, which is gone when it ends.
PRAGMA journal_mode = OFF

-- name: bound
-- Keep at most 32 MB of it in memory.
PRAGMA cache_size = -32768

-- name: spill
-- Sort on disk.
PRAGMA temp_store = FILE

-- name: create-rows
-- One row for each consent or opt-out of the files that would be published. Instants are seconds since 1970; place is
-- its order among those of its key.
CREATE TABLE rows (
    brand_code INTEGER NOT NULL, channel TEXT NOT NULL, recipient_type TEXT NOT NULL, recipient TEXT NOT NULL,
    status TEXT NOT NULL, at INTEGER NOT NULL, due_at INTEGER, expires_at INTEGER, place TEXT NOT NULL)

-- name: add
-- Add one.
INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: create-keys
-- The latest of each key, whose columns SQLite takes from the row with the greatest place; and what is known of it.
CREATE TABLE keys AS
SELECT brand_code, channel, recipient_type, recipient, status, at, due_at, expires_at, max(place) AS place,
    count(*) AS rows, NULL AS registered, NULL AS desired, NULL AS desired_at, NULL AS known_by
FROM rows GROUP BY brand_code, channel, recipient_type, recipient

-- name: drop-rows
-- They are no longer needed.
DROP TABLE rows

-- name: index-keys
-- Finds one key.
CREATE UNIQUE INDEX keys_key ON keys (brand_code, channel, recipient_type, recipient)

-- name: page
-- The next keys, in their order: those of one brand, channel and recipient type are together.
SELECT rowid, brand_code, channel, recipient_type, recipient FROM keys
WHERE rowid > :after ORDER BY rowid LIMIT :size

-- name: consents-of
-- The next opt-ins of one brand, channel and recipient type that nobody is known to have registered.
SELECT rowid, brand_code, channel, recipient_type, recipient FROM keys
WHERE rowid > :after AND brand_code = :brand_code AND channel = :channel AND recipient_type = :recipient_type
    AND status = 'ONAY' AND (registered IS NULL OR registered NOT IN ('ONAY', 'RET'))
ORDER BY rowid LIMIT :size

-- name: groups-to-ask
-- How many those are, group by group.
SELECT brand_code, channel, recipient_type, count(*) AS keys FROM keys
WHERE status = 'ONAY' AND (registered IS NULL OR registered NOT IN ('ONAY', 'RET'))
GROUP BY brand_code, channel, recipient_type

-- name: note-ledger
-- Note what the ledger has of a key.
UPDATE keys SET registered = ?, desired = ?, desired_at = ?, known_by = 'ledger' WHERE rowid = ?

-- name: note-iys
-- Note whether İYS holds ONAY of a key.
UPDATE keys SET registered = ?, known_by = 'iys' WHERE rowid = ?

-- name: registered
-- What İYS holds of a key, as far as known.
SELECT registered FROM keys
WHERE brand_code = ? AND channel = ? AND recipient_type = ? AND recipient = ?

-- name: brands
-- The brands of the rows.
SELECT DISTINCT brand_code FROM keys ORDER BY brand_code

-- name: addresses
-- How many distinct addresses have an opt-in, by brand.
SELECT brand_code, count(DISTINCT CASE WHEN channel <> 'EPOSTA' THEN recipient END) AS phones,
    count(DISTINCT CASE WHEN channel = 'EPOSTA' THEN recipient END) AS emails
FROM keys WHERE status = 'ONAY' GROUP BY brand_code

-- name: lanes
-- What there is, what İYS would take, and what is lawful, by brand and channel.
SELECT brand_code, channel, sum(rows) AS rows, count(*) AS keys,
    sum(status = 'RET') AS opt_outs,
    sum(status = 'ONAY') AS consents,
    sum(status = 'ONAY' AND is_taken) AS taken,
    sum(status = 'ONAY' AND is_lawful) AS lawful,
    sum(status = 'ONAY' AND NOT is_lawful) AS void,
    sum(status = 'ONAY' AND is_held) AS held,
    sum(status = 'ONAY' AND is_refused) AS refused,
    sum(status = 'ONAY' AND is_lawful AND NOT is_held AND NOT is_refused AND NOT is_stored) AS to_send,
    sum(is_stored) AS stored,
    sum(status = 'RET' AND is_held) AS opt_outs_held,
    sum(known_by IS 'ledger') AS in_ledger,
    sum(known_by IS 'iys') AS asked
FROM (
    SELECT *, expires_at IS NULL OR expires_at >= :now AS is_taken,
        lawful_until(at, brand_code) >= :now OR registered IS 'ONAY' AS is_lawful,
        registered IS 'ONAY' AS is_held,
        registered IS 'RET' OR desired IS 'RET' AS is_refused,
        desired_at IS NOT NULL AND desired_at >= at AS is_stored
    FROM keys)
GROUP BY brand_code, channel

-- name: groups
-- What is to be submitted, by status and deadlines to the hour. An opt-in is void from the end of its lawful term on,
-- and İYS refuses it from another: whichever comes first counts.
SELECT status, min(due_at) AS due_at, until AS expires_at, count(*) AS count
FROM (
    SELECT status, due_at,
        CASE WHEN status = 'ONAY' THEN min(lawful_until(at, brand_code), coalesce(expires_at, 1 << 40)) END AS until
    FROM keys
    WHERE (desired_at IS NULL OR desired_at < at)
        AND (status = 'RET' OR registered IS NOT 'ONAY' AND registered IS NOT 'RET' AND desired IS NOT 'RET'
            AND lawful_until(at, brand_code) >= :now))
GROUP BY status, until, due_at / 3600
