-- name: append
-- Facts, each once and linked to the one before: one whose source is known already is a repetition.
SELECT append_movements(%(rows)s::json)

-- name: heads
-- Chains that have grown since their last anchor.
SELECT c.shard, c.place, c.link FROM chains AS c
WHERE c.place > coalesce((SELECT max(a.place) FROM anchors AS a WHERE a.shard = c.shard), 0)
ORDER BY c.shard

-- name: anchor
-- Heads that are about to be told outside.
INSERT INTO anchors (shard, place, link, anchored_at)
SELECT h.shard, h.place, h.link, %(now)s
FROM unnest(%(shards)s::smallint[], %(places)s::bigint[], %(links)s::bytea[]) AS h (shard, place, link)
RETURNING id, shard, place, link, anchored_at

-- name: anchors-after
-- What a file still lacks.
SELECT id, shard, place, link, anchored_at FROM anchors WHERE id > %(after)s ORDER BY id

-- name: chains
-- Where every chain ends, as the ledger says.
SELECT shard, place, link FROM chains ORDER BY shard

-- name: chain
-- What a chain's rows say, in the order of their places.
SELECT id, place, link, movement_said(place, kind, customer_id, key, event_id, status, source,
    occurred_at, recorded_at, data) AS said
FROM movements WHERE shard = %(shard)s ORDER BY place
