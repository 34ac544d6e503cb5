-- name: counts
-- What the topics have of the ledger; whether it follows the topic of decisions that is there now; and when, of late, it
-- read the last decision.
SELECT (SELECT count(*) FROM brands) AS brands, (SELECT count(*) FROM api_keys) AS api_keys,
    (SELECT count(*) FROM consents WHERE permission_since IS NOT NULL) AS permissions,
    NOT EXISTS (
        SELECT FROM kafka_offsets WHERE cluster_id <> %(cluster_id)s OR topic = %(topic)s AND topic_id <> %(topic_id)s
    ) AS followed,
    (SELECT max(recorded_at) FROM history WHERE kind = 'decision' AND recorded_at >= %(since)s) AS read_until

-- name: follow
-- Topics of another cluster are read no more, nor one that was created again: theirs are read from the beginning.
DELETE FROM kafka_offsets
WHERE cluster_id <> %(cluster_id)s OR topic = %(topic)s AND topic_id <> %(topic_id)s
RETURNING topic, partition, next_offset

-- name: forget-lanes
-- How far the decisions on the former lanes were recorded says nothing of those that are there now.
DELETE FROM recorded_offsets WHERE topic = ANY(%(topics)s)

-- name: keys
-- A page of the keys that have a permission.
SELECT key FROM consents WHERE permission_since IS NOT NULL AND key > %(after)s ORDER BY key LIMIT %(size)s
