-- name: read
-- How far a stream of a brand has been pulled.
SELECT after, last_attempt_at, last_pulled_at FROM stream_cursors
WHERE brand_code = %(brand_code)s AND stream = %(stream)s

-- name: begin
-- A new stream is pulled from the start of İYS's window.
INSERT INTO stream_cursors (brand_code, stream) VALUES (%(brand_code)s, %(stream)s) ON CONFLICT DO NOTHING

-- name: advance
-- Compare and set; no row: another process has pulled the same page. last_pulled_at moves where the stream was read to
-- its end.
UPDATE stream_cursors SET after = %(after)s, last_attempt_at = %(now)s,
    last_pulled_at = CASE WHEN %(is_end)s THEN %(now)s ELSE last_pulled_at END
WHERE brand_code = %(brand_code)s AND stream = %(stream)s AND after IS NOT DISTINCT FROM %(before)s
RETURNING stream

-- name: oldest-pull
-- How many streams of a brand were ever read to their end, and when the one was that was not for longest.
SELECT count(last_pulled_at) AS streams, min(last_pulled_at) AS last_pulled_at FROM stream_cursors
WHERE brand_code = %(brand_code)s

-- name: restart
-- Pull the streams of brands from the start of the window again; what is known changes nothing.
UPDATE stream_cursors SET after = NULL, last_attempt_at = NULL WHERE brand_code = ANY(%(brand_codes)s)

-- name: last-pulled
-- When the streams of active brands were last read to their end; where never, since when they have been pulled.
SELECT brand_code, stream, coalesce(last_pulled_at, since) AS last_pulled_at
FROM stream_cursors JOIN brands USING (brand_code)
WHERE status = 'active'
ORDER BY brand_code, stream
