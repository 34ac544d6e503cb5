-- name: next
-- The stream that is due first, of the active brands that this account and address serve: the one that was not read for
-- longest, or with behind_first one whose last page was not the last, if there is one. A brand of which no channel may be
-- read is left out.
SELECT {brand:b}, s.stream, c.next_at
FROM brands AS b CROSS JOIN unnest(%(streams)s::text[]) AS s (stream)
    LEFT JOIN stream_cursors AS c ON c.brand_code = b.brand_code AND c.stream = s.stream
WHERE b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    AND b.brand_code NOT IN (SELECT brand_code FROM unreadable_brands)
ORDER BY %(behind_first)s AND coalesce(c.next_at <= c.last_attempt_at, false) DESC, c.next_at NULLS FIRST,
    b.brand_code, s.stream
LIMIT 1

-- name: read
-- How far a stream of a brand has been pulled.
SELECT after, last_pulled_at, restarts, failure FROM stream_cursors
WHERE brand_code = %(brand_code)s AND stream = %(stream)s

-- name: begin
-- A new stream is pulled from the start of İYS's window.
INSERT INTO stream_cursors (brand_code, stream) VALUES (%(brand_code)s, %(stream)s) ON CONFLICT DO NOTHING

-- name: advance
-- Compare and set; no row: another process has pulled the same page, or the stream was begun again. last_pulled_at moves
-- where the stream was read to its end.
UPDATE stream_cursors SET after = %(after)s, last_attempt_at = %(now)s, next_at = %(next_at)s,
    last_pulled_at = CASE WHEN %(is_end)s THEN %(now)s ELSE last_pulled_at END, failing_since = NULL, failure = NULL
WHERE brand_code = %(brand_code)s AND stream = %(stream)s AND after IS NOT DISTINCT FROM %(before)s
    AND restarts = %(restarts)s
RETURNING stream

-- name: postpone
-- Read a stream later, after a failure; where its cursor was refused, from the start of the window.
UPDATE stream_cursors SET last_attempt_at = %(now)s, next_at = %(next_at)s,
    after = CASE WHEN %(give_up)s THEN NULL ELSE after END,
    failing_since = coalesce(failing_since, %(now)s), failure = %(failure)s
WHERE brand_code = %(brand_code)s AND stream = %(stream)s

-- name: oldest-pull
-- How many streams of a brand were ever read to their end, and when the one was that was not for longest.
SELECT count(last_pulled_at) AS streams, min(last_pulled_at) AS last_pulled_at FROM stream_cursors
WHERE brand_code = %(brand_code)s

-- name: restart
-- Pull the streams of a brand from the start of the window again; what is known changes nothing. Since an instant one of
-- its channels could not be read, so that the streams were last read to their end before it.
UPDATE stream_cursors SET after = NULL, next_at = NULL, restarts = restarts + 1,
    last_pulled_at = CASE WHEN last_pulled_at > %(unread_since)s THEN %(unread_since)s ELSE last_pulled_at END
WHERE brand_code = %(brand_code)s

-- name: wake
-- What failed may succeed: read at once the streams that wait after a failure, of a brand, of what an account serves, or
-- of those that failed alike.
UPDATE stream_cursors AS c SET next_at = NULL
FROM brands AS b
WHERE b.brand_code = c.brand_code AND c.failing_since IS NOT NULL
    AND (%(brand_code)s::integer IS NULL OR c.brand_code = %(brand_code)s)
    AND (%(account)s::text IS NULL OR b.account IS NULL OR b.account = %(account)s)
    AND (%(failure)s::text IS NULL OR c.failure = %(failure)s)

-- name: last-pulled
-- When the streams of active brands were last read to their end; where never, since when they have been pulled, or are
-- to be. A brand of which no channel may be read has none to begin.
SELECT b.brand_code, s.stream, coalesce(c.last_pulled_at, c.since, b.updated_at) AS last_pulled_at,
    c.last_pulled_at IS NOT NULL AS was_pulled, c.failing_since, c.failure, c.next_at
FROM brands AS b CROSS JOIN unnest(%(streams)s::text[]) AS s (stream)
    LEFT JOIN stream_cursors AS c ON c.brand_code = b.brand_code AND c.stream = s.stream
WHERE b.status = 'active'
    AND (c.brand_code IS NOT NULL OR b.brand_code NOT IN (SELECT brand_code FROM unreadable_brands))
ORDER BY b.brand_code, s.stream
