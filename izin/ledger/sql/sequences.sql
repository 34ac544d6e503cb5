-- name: begin
-- Add new origins, with the first of their numbers that came.
INSERT INTO sequences (customer_id, origin, first_number, last_number)
SELECT n.customer_id, n.origin, n.first_number, n.first_number
FROM unnest(%(customers)s::text[], %(origins)s::text[], %(numbers)s::bigint[])
    AS n (customer_id, origin, first_number)
ORDER BY n.customer_id, n.origin
ON CONFLICT (customer_id, origin) DO NOTHING

-- name: lock
-- Lock the sequences of these origins, always in one order, so that two readers wait and never deadlock.
SELECT s.* FROM sequences AS s
JOIN unnest(%(customers)s::text[], %(origins)s::text[]) AS n (customer_id, origin)
    USING (customer_id, origin)
ORDER BY s.customer_id, s.origin FOR UPDATE OF s

-- name: gaps-of
-- The gaps of these origins.
SELECT g.* FROM sequence_gaps AS g
JOIN unnest(%(customers)s::text[], %(origins)s::text[]) AS n (customer_id, origin)
    USING (customer_id, origin)
ORDER BY g.customer_id, g.origin, g.first_number

-- name: save
-- Store the first and last number of origins.
UPDATE sequences AS s
SET first_number = n.first_number, last_number = n.last_number, given_up = n.given_up
FROM unnest(%(customers)s::text[], %(origins)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[],
        %(given_up)s::numeric[])
    AS n (customer_id, origin, first_number, last_number, given_up)
WHERE s.customer_id = n.customer_id AND s.origin = n.origin

-- name: drop-gaps
-- Delete gaps that closed or changed.
DELETE FROM sequence_gaps AS g
USING unnest(%(customers)s::text[], %(origins)s::text[], %(firsts)s::bigint[])
    AS n (customer_id, origin, first_number)
WHERE g.customer_id = n.customer_id AND g.origin = n.origin AND g.first_number = n.first_number

-- name: add-gaps
-- Add gaps that opened, or the rest of one that changed.
INSERT INTO sequence_gaps (customer_id, origin, first_number, last_number, since)
SELECT * FROM unnest(%(customers)s::text[], %(origins)s::text[], %(firsts)s::bigint[],
    %(lasts)s::bigint[], %(since)s::timestamptz[])

-- name: read-until
-- Store until which instant each partition has been read; it never goes back.
UPDATE kafka_offsets AS o SET read_until = greatest(o.read_until, n.read_until)
FROM unnest(%(partitions)s::integer[], %(instants)s::timestamptz[]) AS n (partition, read_until)
WHERE o.topic = %(topic)s AND o.partition = n.partition

-- name: missing
-- What is missing of each origin, in gaps that opened well before the instant until which every partition of these
-- topics has been read: what may still come on another partition is left out, and everything while one was never read.
SELECT g.customer_id, g.origin, count(*) AS gaps, sum(g.last_number::numeric - g.first_number + 1) AS numbers,
    min(g.first_number) AS first_number, min(g.since) AS since, s.given_up
FROM sequence_gaps AS g JOIN sequences AS s USING (customer_id, origin)
WHERE g.since <= (
    SELECT CASE
        WHEN bool_and(o.read_until IS NOT NULL)
            AND count(DISTINCT o.topic) = cardinality(%(topics)s::text[])
        THEN min(o.read_until) END
    FROM kafka_offsets AS o WHERE o.topic = ANY(%(topics)s)) - %(grace)s::interval
GROUP BY g.customer_id, g.origin, s.given_up
ORDER BY g.customer_id, g.origin
