-- name: note
-- Note the days of brands that may have a file, and whose files may be read.
INSERT INTO daily_files (brand_code, day, noted_at, next_attempt_at)
SELECT b.brand_code, d.day, %(now)s, %(now)s
FROM brands AS b, unnest(%(days)s::date[]) AS d (day)
WHERE b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    AND b.brand_code NOT IN (SELECT brand_code FROM brands_without_daily_files)
ON CONFLICT DO NOTHING

-- name: due
-- The files that something is to be done about now, the oldest day first: İYS shows it for the shortest time.
-- Of brands whose files may not be read, nothing.
SELECT f.* FROM daily_files AS f
JOIN brands AS b ON b.brand_code = f.brand_code AND b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
WHERE f.next_attempt_at <= %(now)s AND f.brand_code NOT IN (SELECT brand_code FROM brands_without_daily_files)
    AND (f.state IN ('waiting', 'fetched') OR f.agree_ordered_by IS NOT NULL AND f.agreed_at IS NULL
        AND f.day >= %(first)s)
ORDER BY f.day, f.brand_code

-- name: files
-- The files of brands since a day, the latest first.
SELECT * FROM daily_files
WHERE (%(brand_code)s::integer IS NULL OR brand_code = %(brand_code)s) AND day >= %(since)s
ORDER BY day DESC, brand_code

-- name: file
-- One file.
SELECT * FROM daily_files WHERE brand_code = %(brand_code)s AND day = %(day)s

-- name: unsettled
-- Files of active brands that a person may have to look at: those that are open (where they may be read) or gone, with
-- lines that only İYS had, or with a false time stamp.
SELECT f.* FROM daily_files AS f JOIN brands AS b ON b.brand_code = f.brand_code AND b.status = 'active'
WHERE f.day >= %(since)s AND (f.state = 'gone' OR f.state IN ('waiting', 'fetched')
    AND f.brand_code NOT IN (SELECT brand_code FROM brands_without_daily_files)
    OR f.only_at_iys > 0 OR f.timestamp_state = 'wrong')
ORDER BY f.brand_code, f.day

-- name: states
-- How many files of each active brand are in each state since a day.
SELECT f.brand_code, f.state, count(*) AS files,
    coalesce(sum(f.only_at_iys), 0)::bigint AS only_at_iys, coalesce(sum(f.only_here), 0)::bigint AS only_here
FROM daily_files AS f JOIN brands AS b ON b.brand_code = f.brand_code AND b.status = 'active'
WHERE f.day >= %(since)s
GROUP BY f.brand_code, f.state
ORDER BY f.brand_code, f.state

-- name: attempted
-- Nothing came of an attempt, or not yet: try again later.
UPDATE daily_files SET attempts = attempts + 1, next_attempt_at = %(next_attempt_at)s, error = %(error)s,
    counts = coalesce(%(counts)s, counts), process_status = coalesce(%(process_status)s, process_status)
WHERE brand_code = %(brand_code)s AND day = %(day)s
RETURNING day

-- name: close
-- The day has no file: it is empty, or İYS shows it no more.
UPDATE daily_files SET state = %(state)s, error = NULL, counts = coalesce(%(counts)s, counts)
WHERE brand_code = %(brand_code)s AND day = %(day)s AND state = 'waiting'
RETURNING day

-- name: fetched
-- The file is here and its hash is right.
UPDATE daily_files SET state = 'fetched', error = NULL, attempts = 0, next_attempt_at = %(now)s, fetched_at = %(now)s,
    counts = %(counts)s, process_status = 'completed', hash_value = %(hash_value)s, hashed_prefix = %(hashed_prefix)s,
    lines = %(lines)s, agreed_at = coalesce(agreed_at, %(agreed_at)s)
WHERE brand_code = %(brand_code)s AND day = %(day)s AND state = 'waiting'
RETURNING day

-- name: copy-parts
-- Store the lines of a file.
COPY daily_parts (brand_code, day, part, content) FROM STDIN (FORMAT binary)

-- name: parts
-- The parts of a file from one on, a few at a time.
SELECT part, content FROM daily_parts
WHERE brand_code = %(brand_code)s AND day = %(day)s AND part >= %(first)s
ORDER BY part LIMIT %(size)s

-- name: entered
-- Lines that only İYS's file has were published and recorded, up to this one. No row: another process has been here.
UPDATE daily_files SET entered_lines = %(line)s, entered = entered + %(count)s
WHERE brand_code = %(brand_code)s AND day = %(day)s AND state = 'fetched' AND entered_lines = %(before)s
RETURNING day

-- name: compared
-- All that only İYS's file has is recorded; what both files have is compared.
UPDATE daily_files SET state = 'compared', error = NULL, attempts = 0, own_hash = %(own_hash)s,
    only_at_iys = %(only_at_iys)s, only_here = %(only_here)s, compared_at = %(now)s,
    timestamp_reply = %(timestamp_reply)s, timestamp_state = %(timestamp_state)s, timestamped_at = %(timestamped_at)s
WHERE brand_code = %(brand_code)s AND day = %(day)s AND state = 'fetched'
RETURNING day

-- name: own-lines
-- Our own file of a day: a line for each movement that İYS's streams showed, in the order of İYS's file. What only its
-- daily file showed is no part of it.
COPY (
    SELECT concat_ws(',', to_char(m.created AT TIME ZONE interval '3 hours', 'YYYY-MM-DD HH24:MI:SS'), m.transaction_id,
        substr(m.key, m.place), split_part(m.key, '/', 3), split_part(m.key, '/', 2), m.status,
        coalesce(to_char(m.consented AT TIME ZONE interval '3 hours', 'YYYY-MM-DD HH24:MI:SS'), %(empty_date)s),
        coalesce(m.source, ''))
    FROM (
        SELECT key, status, (data ->> 'creation_date') COLLATE "C" AS shown,
            (data ->> 'creation_date')::timestamptz AS created,
            coalesce(data ->> 'transaction_id', '') COLLATE "C" AS transaction_id,
            (data ->> 'consent_date')::timestamptz AS consented, data ->> 'source' AS source,
            -- The recipient is the rest of the key, and may have a slash.
            length(split_part(key, '/', 1) || split_part(key, '/', 2) || split_part(key, '/', 3)) + 4 AS place
        FROM history
        WHERE kind = 'observation' AND split_part(key, '/', 1) = %(brand)s
            AND (data ->> 'creation_date') COLLATE "C" >= %(first)s AND (data ->> 'creation_date') COLLATE "C" < %(end)s
            AND data ->> 'by' = 'pull'
    ) AS m
    -- In the order of the index, which is that of the instants: only what is of one second is sorted.
    ORDER BY m.shown, m.transaction_id
) TO STDOUT

-- name: has-own
-- Whether İYS's streams showed a movement on a day.
SELECT EXISTS (
    SELECT FROM history
    WHERE kind = 'observation' AND split_part(key, '/', 1) = %(brand)s
        AND (data ->> 'creation_date') COLLATE "C" >= %(first)s AND (data ->> 'creation_date') COLLATE "C" < %(end)s
        AND data ->> 'by' = 'pull') AS has

-- name: order-fetch
-- A person has the file fetched now, whatever became of it before; a file that is here is compared again.
INSERT INTO daily_files (brand_code, day, noted_at, next_attempt_at)
VALUES (%(brand_code)s, %(day)s, %(now)s, %(now)s)
ON CONFLICT (brand_code, day) DO UPDATE SET next_attempt_at = excluded.next_attempt_at, attempts = 0, error = NULL,
    state = CASE WHEN daily_files.state IN ('fetched', 'compared') THEN 'fetched' ELSE 'waiting' END
RETURNING state

-- name: order-agreement
-- A person, or the settings, have agreement declared. No row: it is declared or ordered already, or both files differ.
UPDATE daily_files SET agree_ordered_by = %(by)s, next_attempt_at = %(now)s, attempts = 0
WHERE brand_code = %(brand_code)s AND day = %(day)s AND state = 'compared' AND own_hash = hash_value
    AND agree_ordered_by IS NULL AND agreed_at IS NULL
RETURNING day

-- name: agreed
-- İYS has our agreement.
UPDATE daily_files SET agreed_at = %(now)s, error = NULL WHERE brand_code = %(brand_code)s AND day = %(day)s
    AND agreed_at IS NULL
RETURNING day

-- name: lock-days
-- Lock the files of these days that have lines.
SELECT f.brand_code, f.day FROM daily_files AS f
JOIN unnest(%(brands)s::integer[], %(days)s::date[]) AS d (brand_code, day) USING (brand_code, day)
WHERE f.lines IS NOT NULL
ORDER BY f.brand_code, f.day FOR UPDATE OF f

-- name: rewrite-part
-- Replace the content of a part, of which lines were erased.
UPDATE daily_parts SET content = %(content)s
WHERE brand_code = %(brand_code)s AND day = %(day)s AND part = %(part)s

-- name: redacted
-- Count the lines of a file that were erased.
UPDATE daily_files SET redacted = redacted + %(count)s WHERE brand_code = %(brand_code)s AND day = %(day)s
