-- name: suspend
-- Keep records of a channel and status from İYS: a brand's, those of every brand of its provider, or of every brand
-- that the account tells.
-- A stop that stands already is tried ever less often, from a minute up to a quarter of an hour; a person's, never.
INSERT INTO suspensions (brand_code, channel, status, customer_id, code, reason, scope, since, recheck_at)
SELECT b.brand_code, %(channel)s, %(status)s, b.customer_id, %(code)s, %(reason)s, %(scope)s, %(now)s,
    %(now)s + interval '1 minute'
FROM brands AS b
WHERE b.brand_code = %(brand_code)s
    OR (%(scope)s = 'provider' AND b.iys_code = %(iys_code)s)
    OR (%(scope)s = 'account' AND (b.account IS NULL OR b.account = %(account)s))
ON CONFLICT (brand_code, channel, status) DO UPDATE SET
    code = excluded.code, reason = excluded.reason, scope = excluded.scope, rechecks = suspensions.rechecks + 1,
    recheck_at = greatest(suspensions.recheck_at,
        %(now)s + least(interval '15 minutes', interval '1 minute' * 2 ^ least(suspensions.rechecks + 1, 10)))
WHERE suspensions.recheck_at IS NOT NULL

-- name: recheck
-- Take the one try a stop allows, and put the next off, also for whatever else hangs on the same fault; no row: it is
-- not to be tried yet, or by a person's word not at all.
WITH own AS (
    SELECT s.scope, s.code, b.iys_code FROM suspensions AS s JOIN brands AS b USING (brand_code)
    WHERE s.brand_code = %(brand_code)s
        AND covers(s, %(channel)s, %(status)s) AND s.recheck_at <= %(now)s
        AND NOT EXISTS (
            SELECT 1 FROM suspensions AS p
            WHERE p.brand_code = s.brand_code AND covers(p, %(channel)s, %(status)s) AND p.recheck_at IS NULL)
    FOR UPDATE OF s
)
UPDATE suspensions AS s SET recheck_at = %(recheck_at)s
FROM own, brands AS b
WHERE b.brand_code = s.brand_code
    AND (s.brand_code = %(brand_code)s AND covers(s, %(channel)s, %(status)s)
        OR s.scope = own.scope AND s.code = own.code
            AND (own.scope = 'account' AND (b.account IS NULL OR b.account = %(account)s)
                OR own.scope = 'provider' AND b.iys_code = own.iys_code))
RETURNING s.channel

-- name: is-suspended
-- Whether anything keeps these records from İYS.
SELECT EXISTS (
    SELECT 1 FROM suspensions AS s WHERE s.brand_code = %(brand_code)s AND covers(s, %(channel)s, %(status)s))

-- name: resume
-- İYS looked at a record, or took it: what kept such records from it is mended, for whatever hung on the same fault;
-- that there is room for new ONAYs again (a stop of one status) shows only one that is taken. What a person said
-- stands until a person takes it back.
DELETE FROM suspensions AS s USING brands AS b, brands AS own
WHERE b.brand_code = s.brand_code AND own.brand_code = %(brand_code)s AND s.status IN ('*', %(status)s)
    AND s.recheck_at IS NOT NULL AND (%(taken)s OR s.status = '*')
    AND (s.brand_code = %(brand_code)s AND s.channel IN ('*', %(channel)s)
        OR s.scope = 'account' AND (b.account IS NULL OR b.account = %(account)s)
        OR s.scope = 'provider' AND b.iys_code = own.iys_code)
RETURNING s.brand_code, s.channel

-- name: recheck-now
-- A person has mended it at İYS: one record of each stop may be tried at once.
UPDATE suspensions SET recheck_at = %(now)s WHERE brand_code = %(brand_code)s AND recheck_at IS NOT NULL RETURNING channel

-- name: is-suspended-by-operator
-- Whether a person has said that these records are not to be told.
SELECT EXISTS (
    SELECT 1 FROM suspensions AS s
    WHERE s.brand_code = %(brand_code)s AND covers(s, %(channel)s, %(status)s) AND s.recheck_at IS NULL)

-- name: revoke-right
-- A person says that the brand may not write these channels at İYS; what İYS said of them before gives way to it.
INSERT INTO suspensions (brand_code, channel, status, customer_id, code, reason, scope, since, recheck_at)
SELECT b.brand_code, taken.channel, '*', b.customer_id, %(code)s, %(reason)s, 'brand', %(now)s, NULL
FROM brands AS b CROSS JOIN unnest(%(channels)s::text[]) AS taken (channel)
WHERE b.brand_code = %(brand_code)s
ON CONFLICT (brand_code, channel, status) DO UPDATE SET
    code = excluded.code, reason = excluded.reason, scope = excluded.scope, since = excluded.since, recheck_at = NULL,
    rechecks = 0
WHERE suspensions.recheck_at IS NOT NULL

-- name: restore-right
-- A person says that the brand may write these channels.
DELETE FROM suspensions
WHERE brand_code = %(brand_code)s AND channel = ANY(%(channels)s) AND status = '*' AND recheck_at IS NULL

-- name: all
-- What is kept from İYS, and why.
SELECT brand_code, channel, status, code, reason, scope, since, recheck_at, rechecks FROM suspensions
ORDER BY brand_code, channel, status
