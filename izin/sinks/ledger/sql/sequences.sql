-- name: begin
-- Origins heard of for the first time, with the first of their numbers that came.
INSERT INTO sequences (customer_id, origin, first_number, last_number)
SELECT n.customer_id, n.origin, n.first_number, n.first_number
FROM unnest(%(customers)s::text[], %(origins)s::text[], %(numbers)s::bigint[])
    AS n (customer_id, origin, first_number)
ORDER BY n.customer_id, n.origin
ON CONFLICT (customer_id, origin) DO NOTHING

-- name: lock
-- What came of these origins so far, in one order for all, so that two readers wait and never deadlock.
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
-- How far an origin's numbers have come.
UPDATE sequences AS s
SET first_number = n.first_number, last_number = n.last_number, given_up = n.given_up
FROM unnest(%(customers)s::text[], %(origins)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[],
        %(given_up)s::numeric[])
    AS n (customer_id, origin, first_number, last_number, given_up)
WHERE s.customer_id = n.customer_id AND s.origin = n.origin

-- name: drop-gaps
-- Gaps that closed, or are no longer what they were.
DELETE FROM sequence_gaps AS g
USING unnest(%(customers)s::text[], %(origins)s::text[], %(firsts)s::bigint[])
    AS n (customer_id, origin, first_number)
WHERE g.customer_id = n.customer_id AND g.origin = n.origin AND g.first_number = n.first_number

-- name: add-gaps
-- Gaps that opened, or what is left of one.
INSERT INTO sequence_gaps (customer_id, origin, first_number, last_number, since)
SELECT * FROM unnest(%(customers)s::text[], %(origins)s::text[], %(firsts)s::bigint[],
    %(lasts)s::bigint[], %(since)s::timestamptz[])

-- name: read-until
-- Until when each partition is read; the instant never goes back.
UPDATE kafka_offsets AS o SET read_until = greatest(o.read_until, n.read_until)
FROM unnest(%(partitions)s::integer[], %(instants)s::timestamptz[]) AS n (partition, read_until)
WHERE o.topic = %(topic)s AND o.partition = n.partition

-- name: missing
-- What is missing of each origin, in gaps that opened well before the instant until which every partition of these topics
-- is read: what is merely late on another partition is left out, and all while one was never read.
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
