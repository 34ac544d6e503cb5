-- name: begin
-- A new address starts at the full rate.
INSERT INTO rate_limits (egress_address, free_at, factor, paused_until)
VALUES (%(address)s, clock_timestamp(), 1, clock_timestamp())
ON CONFLICT DO NOTHING

-- name: next-slot
-- Take the address's next free slot: its number, when it comes, and the time of reading, by the database's clock, which
-- all processes share. The arrivals of other slots are passed along; -infinity: the slot was not used.
SELECT t.slot, t.comes_at, t.read_at FROM take_slot(
    %(address)s, %(interval)s, %(span)s, %(arrives_within)s, %(fastest)s, %(creep)s, %(slots)s::bigint[],
    %(there)s::double precision[]) AS t

-- name: slow-down
-- İYS answered "too many requests": every process pauses, then continues at half the rate. Several of one burst count
-- once.
UPDATE rate_limits SET
    paused_until = clock_timestamp() + %(pause)s * interval '1 second',
    free_at = greatest(free_at, clock_timestamp() + %(pause)s * interval '1 second'),
    factor = greatest(%(slowest)s, factor / 2)
WHERE egress_address = %(address)s AND paused_until <= clock_timestamp()

-- name: lock
-- Lock the address. A statement of its own, before the count: a statement that waits for a row goes on with the
-- snapshot from before it waited.
SELECT 1 FROM rate_limits WHERE egress_address = %(address)s FOR UPDATE

-- name: count-in-hour
-- Count one query against the hour's limit before it is made; no row: the hour's queries are spent. The address is
-- locked meanwhile, so that two processes cannot both take the last one. The minute that is partly in the hour counts
-- as a whole.
WITH used AS (
    SELECT coalesce(sum(m.calls), 0) AS calls FROM rate_limit_minutes AS m
    WHERE m.egress_address = %(address)s AND m.operation = %(operation)s
        AND m.minute > clock_timestamp() - interval '61 minutes'
)
INSERT INTO rate_limit_minutes AS m (egress_address, operation, minute, calls)
SELECT %(address)s, %(operation)s, date_trunc('minute', clock_timestamp()), 1
FROM used WHERE used.calls < %(room)s
ON CONFLICT (egress_address, operation, minute) DO UPDATE SET calls = m.calls + 1
RETURNING m.calls

-- name: hour-frees-in
-- In how many seconds the first of the hour's queries leaves the hour.
SELECT coalesce(
    extract(epoch FROM min(minute) + interval '61 minutes' - clock_timestamp()), 60)::double precision AS seconds
FROM rate_limit_minutes
WHERE egress_address = %(address)s AND operation = %(operation)s
    AND minute > clock_timestamp() - interval '61 minutes'

-- name: delete-minutes
-- Delete minutes that no hour includes any more.
DELETE FROM rate_limit_minutes
WHERE egress_address = %(address)s AND minute < clock_timestamp() - interval '2 hours'

-- name: count
-- Add the results of calls since the last flush of this process.
INSERT INTO rate_limit_hours AS h (egress_address, hour, operation, code, calls, failures)
SELECT %(address)s, date_trunc('hour', clock_timestamp()), c.operation, c.code, c.calls, c.failures
FROM unnest(%(operations)s::text[], %(codes)s::text[], %(calls)s::bigint[], %(failures)s::bigint[])
    AS c (operation, code, calls, failures)
ON CONFLICT (egress_address, hour, operation, code) DO UPDATE SET
    calls = h.calls + excluded.calls, failures = h.failures + excluded.failures

-- name: day
-- How many calls the address made in 24 hours, and how many of them count as failures.
SELECT coalesce(sum(calls), 0)::bigint AS calls, coalesce(sum(failures), 0)::bigint AS failures
FROM rate_limit_hours
WHERE egress_address = %(address)s AND hour > clock_timestamp() - interval '24 hours'

-- name: addresses
-- Every address: its rate, its calls of 24 hours, its queries and token calls of this hour. A pause that is over is
-- none.
SELECT b.egress_address AS address, b.factor,
    CASE WHEN b.paused_until > clock_timestamp() THEN b.paused_until END AS paused_until,
    (SELECT count(*) FROM unnest(b.token_calls) AS one (at)
        WHERE one.at > clock_timestamp() - interval '1 hour') AS token_calls,
    CASE WHEN b.token_silent_until > clock_timestamp() THEN b.token_silent_until END AS token_silent_until,
    coalesce(h.status_calls, 0)::bigint AS status_calls, coalesce(h.history_calls, 0)::bigint AS history_calls,
    coalesce(d.calls, 0)::bigint AS calls, coalesce(d.failures, 0)::bigint AS failures, b.delisted_at
FROM rate_limits AS b
LEFT JOIN (
    SELECT egress_address, sum(calls) FILTER (WHERE operation = 'status') AS status_calls,
        sum(calls) FILTER (WHERE operation = 'history') AS history_calls
    FROM rate_limit_minutes WHERE minute > clock_timestamp() - interval '61 minutes' GROUP BY egress_address
) AS h USING (egress_address)
LEFT JOIN (
    SELECT egress_address, sum(calls) AS calls, sum(failures) AS failures FROM rate_limit_hours
    WHERE hour > clock_timestamp() - interval '24 hours' GROUP BY egress_address
) AS d USING (egress_address)
ORDER BY b.egress_address

-- name: codes
-- The results of an address's calls in 24 hours, by operation and code.
SELECT operation, code, sum(calls)::bigint AS calls FROM rate_limit_hours
WHERE egress_address = %(address)s AND hour > clock_timestamp() - interval '24 hours'
GROUP BY operation, code ORDER BY operation, code
