-- name: suspend
-- Suspend records of a channel and status: of a brand, of every brand of its provider, or of every brand that the
-- account serves. A suspension that exists already is tried ever less often, from a minute up to a quarter of an hour;
-- one that an operator declared, never.
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
-- Take the one try that a suspension allows, and postpone the next, also for every suspension of the same fault. No
-- row: the try is not allowed yet, or an operator declared that there is no right.
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
-- Whether these records are suspended.
SELECT EXISTS (
    SELECT 1 FROM suspensions AS s WHERE s.brand_code = %(brand_code)s AND covers(s, %(channel)s, %(status)s))

-- name: resume
-- İYS has looked at a record, or accepted it: delete the suspensions of such records and of the same fault. Only an
-- accepted record shows that there is room for new ONAYs (a suspension of one status). What an operator declared stays
-- until an operator ends it.
DELETE FROM suspensions AS s USING brands AS b, brands AS own
WHERE b.brand_code = s.brand_code AND own.brand_code = %(brand_code)s AND s.status IN ('*', %(status)s)
    AND s.recheck_at IS NOT NULL AND (%(accepted)s OR s.status = '*')
    AND (s.brand_code = %(brand_code)s AND s.channel IN ('*', %(channel)s)
        OR s.scope = 'account' AND (b.account IS NULL OR b.account = %(account)s)
        OR s.scope = 'provider' AND b.iys_code = own.iys_code)
RETURNING s.brand_code, s.customer_id, s.channel, s.status, s.code, s.reason, s.since

-- name: recheck-now
-- An operator has fixed the cause at İYS: one record of each suspension may be tried at once.
UPDATE suspensions AS s SET recheck_at = %(now)s
FROM (
    SELECT brand_code, channel, status, recheck_at FROM suspensions
    WHERE brand_code = %(brand_code)s AND recheck_at IS NOT NULL FOR UPDATE
) AS was
WHERE s.brand_code = was.brand_code AND s.channel = was.channel AND s.status = was.status
RETURNING s.customer_id, s.channel, s.status, s.code, was.recheck_at AS before

-- name: recheck-all
-- What was refused may be accepted: one record of each suspension may be tried at once.
UPDATE suspensions SET recheck_at = clock_timestamp() WHERE recheck_at > clock_timestamp()

-- name: is-suspended-by-operator
-- Whether an operator has declared that there is no right to submit these records.
SELECT EXISTS (
    SELECT 1 FROM suspensions AS s
    WHERE s.brand_code = %(brand_code)s AND covers(s, %(channel)s, %(status)s) AND s.recheck_at IS NULL)

-- name: revoke-right
-- An operator declares, or İYS lists, that the brand may not write these channels at İYS; this replaces suspensions that
-- a refused call caused, and an operator's replaces those of the list.
INSERT INTO suspensions (brand_code, channel, status, customer_id, code, reason, scope, since, recheck_at)
SELECT b.brand_code, revoked.channel, '*', b.customer_id, %(code)s, %(reason)s, 'brand', %(now)s, NULL
FROM brands AS b CROSS JOIN unnest(%(channels)s::text[]) AS revoked (channel)
WHERE b.brand_code = %(brand_code)s
ON CONFLICT (brand_code, channel, status) DO UPDATE SET
    code = excluded.code, reason = excluded.reason, scope = excluded.scope, since = excluded.since, recheck_at = NULL,
    rechecks = 0
WHERE suspensions.recheck_at IS NOT NULL OR suspensions.code = 'not-granted'

-- name: restore-right
-- An operator declares that the brand may write these channels.
DELETE FROM suspensions
WHERE brand_code = %(brand_code)s AND channel = ANY(%(channels)s) AND status = '*' AND recheck_at IS NULL
RETURNING brand_code, since

-- name: regrant
-- İYS lists the right to write these channels again: what the list suspended goes on.
DELETE FROM suspensions
WHERE brand_code = %(brand_code)s AND channel = ANY(%(channels)s) AND status = '*' AND code = %(code)s

-- name: try-listed
-- İYS lists the right to write these channels, which it refused to take: one record of each may be tried at once.
UPDATE suspensions SET recheck_at = least(recheck_at, %(now)s)
WHERE brand_code = %(brand_code)s AND channel = ANY(%(channels)s) AND status = '*' AND recheck_at IS NOT NULL

-- name: all
-- Every suspension.
SELECT brand_code, channel, status, code, reason, scope, since, recheck_at, rechecks FROM suspensions
ORDER BY brand_code, channel, status
