-- name: read
-- Where pulling of a brand's stream stands.
SELECT after, last_attempt_at, last_pulled_at FROM stream_cursors WHERE brand_code = %(brand_code)s AND stream = %(stream)s

-- name: begin
-- A stream seen for the first time is pulled from the start of İYS's window.
INSERT INTO stream_cursors (brand_code, stream) VALUES (%(brand_code)s, %(stream)s) ON CONFLICT DO NOTHING

-- name: advance
-- Compare and set; no row: another process pulled the same page. Heard is what was read to its end.
UPDATE stream_cursors SET after = %(after)s, last_attempt_at = %(now)s,
    last_pulled_at = CASE WHEN %(is_end)s THEN %(now)s ELSE last_pulled_at END
WHERE brand_code = %(brand_code)s AND stream = %(stream)s AND after IS NOT DISTINCT FROM %(before)s
RETURNING stream

-- name: restart
-- Pull brands' streams from the start of the window again; what is known changes nothing.
UPDATE stream_cursors SET after = NULL, last_attempt_at = NULL WHERE brand_code = ANY(%(brand_codes)s)

-- name: last-pulled
-- Until when the streams of the brands that are told were read to their end; since when they were not, where never.
SELECT brand_code, stream, coalesce(last_pulled_at, since) AS last_pulled_at
FROM stream_cursors JOIN brands USING (brand_code)
WHERE status = 'active'
ORDER BY brand_code, stream

-- name: query-again
-- İYS is asked again about a brand's consents that stand there, the first thousand behind a key; their last key. The
-- rows that somebody works on are left out: whatever that is reads İYS's answer.
WITH standing AS (
    SELECT key FROM consents
    WHERE brand_code = %(brand_code)s AND key > %(after)s AND registered = 'ONAY' AND action = 'nothing'
        AND state IN ('accepted', 'not_needed')
    ORDER BY key LIMIT 1000 FOR UPDATE SKIP LOCKED
), asked AS (
    UPDATE consents AS c SET action = 'query', reason = 'stream-gap', updated_at = %(now)s FROM standing WHERE c.key = standing.key
    RETURNING c.key
)
SELECT max(key) AS last FROM asked
