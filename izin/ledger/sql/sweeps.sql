-- name: start
-- Start sweeps of brands, those that have no open one. A brand's keys are counted now, in the index of keys alone.
INSERT INTO sweeps (customer_id, brand_code, reason, started_at, keys, after)
SELECT b.customer_id, b.brand_code, %(reason)s, %(now)s,
    (SELECT count(*) FROM consents AS c WHERE c.key > b.brand_code || '/' AND c.key < b.brand_code || '/Z'),
    b.brand_code || '/'
FROM brands AS b WHERE b.brand_code = ANY(%(brand_codes)s)
ORDER BY b.brand_code
ON CONFLICT (brand_code) WHERE ended_at IS NULL DO NOTHING
RETURNING *

-- name: since
-- Whether a sweep of a brand that was not stopped began after an instant: it has seen, or will see, every key.
SELECT 1 AS one FROM sweeps WHERE brand_code = %(brand_code)s AND started_at > %(since)s AND NOT is_stopped LIMIT 1

-- name: of-gap
-- An open sweep of a brand is one after a gap now: it goes first, and the gate waits for it.
UPDATE sweeps SET reason = 'gap' WHERE brand_code = %(brand_code)s AND ended_at IS NULL

-- name: is-open
-- Whether a sweep after a gap of a brand is under way.
SELECT 1 AS one FROM sweeps WHERE brand_code = %(brand_code)s AND ended_at IS NULL AND reason = 'gap'

-- name: stop
-- Stop the open sweeps of brands, or of all.
UPDATE sweeps SET ended_at = %(now)s, is_stopped = true, after = NULL, error = NULL, retry_at = NULL
WHERE ended_at IS NULL AND (%(brand_codes)s::integer[] IS NULL OR brand_code = ANY(%(brand_codes)s))
RETURNING *

-- name: due
-- The brands served here that may be read and whose last sweep began too long ago, or that never had one.
SELECT b.brand_code FROM brands AS b
WHERE b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    AND b.brand_code NOT IN (SELECT brand_code FROM unreadable_brands)
    AND NOT EXISTS (SELECT FROM sweeps AS s WHERE s.brand_code = b.brand_code
        AND (s.ended_at IS NULL OR s.started_at > %(before)s AND NOT s.is_stopped))
ORDER BY b.brand_code

-- name: next
-- The sweep that goes on now: after a gap first. Brands whose account or provider is suspended, those that a person
-- has suspended, and those that may not be read, wait.
SELECT s.* FROM sweeps AS s JOIN brands AS b USING (brand_code)
WHERE s.ended_at IS NULL AND (s.retry_at IS NULL OR s.retry_at <= %(now)s)
    AND b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    AND b.brand_code NOT IN (SELECT brand_code FROM unreadable_brands)
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS p
        WHERE p.brand_code = b.brand_code AND p.status = '*' AND (
            p.scope IN ('account', 'provider') AND p.recheck_at > %(now)s OR p.channel = '*' AND p.recheck_at IS NULL))
ORDER BY s.reason <> 'gap', s.id LIMIT 1

-- name: page
-- The next keys of a brand, without those that are on their way to İYS: each with what would show that it has changed
-- when İYS's answer comes. Keys begin with the code of the brand and the channel, of which none is behind Z.
SELECT key, recipient, channel, recipient_type, registered, registered_at, last_exchange_at FROM consents
WHERE brand_code = %(brand_code)s AND key > %(after)s AND key < %(brand_code)s::integer || '/Z'
    AND NOT onay_open AND NOT ret_open
ORDER BY key LIMIT %(size)s

-- name: confirm
-- İYS shows ONAY for these keys, as the ledger has it. Rows that another process has locked change anyway.
WITH locked AS (
    SELECT ctid FROM consents
    WHERE key = ANY(%(keys)s) AND registered = 'ONAY' AND NOT onay_open AND NOT ret_open
        AND registered_at < %(queried_at)s AND (verified_at IS NULL OR verified_at < %(queried_at)s)
    ORDER BY key FOR UPDATE SKIP LOCKED
)
UPDATE consents AS c SET verified_at = %(queried_at)s, verified_by = 'statuses'
FROM locked WHERE c.ctid = locked.ctid

-- name: advance
-- A page is done. No row: the sweep was stopped, or another process is ahead.
UPDATE sweeps SET after = %(after)s, pages = pages + 1, queried = queried + %(queried)s,
    confirmed = confirmed + %(confirmed)s, shut = shut + %(shut)s, found = found + %(found)s,
    asked = asked + %(asked)s, skipped = skipped + %(skipped)s, refused = refused + %(refused)s,
    error = NULL, retry_at = NULL
WHERE id = %(id)s AND after = %(before)s AND ended_at IS NULL
RETURNING *

-- name: skip-group
-- İYS does not let us query a channel and recipient type: go on behind it.
UPDATE sweeps SET after = %(after)s, skipped_groups = skipped_groups || %(what)s::text
WHERE id = %(id)s AND after = %(before)s AND ended_at IS NULL
RETURNING *

-- name: postpone
-- A sweep waits, for İYS does not answer it now.
UPDATE sweeps SET error = %(error)s, retry_at = %(retry_at)s WHERE id = %(id)s AND ended_at IS NULL

-- name: wake
-- What failed may succeed: sweeps that wait go on at once.
UPDATE sweeps SET error = NULL, retry_at = NULL WHERE ended_at IS NULL AND retry_at IS NOT NULL

-- name: end
-- Every key of the brand is done.
UPDATE sweeps SET ended_at = %(now)s, after = NULL, error = NULL, retry_at = NULL
WHERE id = %(id)s AND ended_at IS NULL
RETURNING *

-- name: latest
-- The latest sweep of each brand.
SELECT s.* FROM brands AS b
CROSS JOIN LATERAL (SELECT * FROM sweeps AS l WHERE l.brand_code = b.brand_code ORDER BY l.id DESC LIMIT 1) AS s
ORDER BY b.brand_code

-- name: sizes
-- How many keys brands have, by channel and recipient type.
SELECT c.brand_code, c.channel, c.recipient_type, count(*) AS keys FROM consents AS c
WHERE c.brand_code = ANY(%(brand_codes)s)
GROUP BY c.brand_code, c.channel, c.recipient_type
ORDER BY c.brand_code, c.channel, c.recipient_type
