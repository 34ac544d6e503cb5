-- name: movement_fields
-- The columns of a movement with its origin, shared by the statements that read movements.
SELECT m.id, m.brand, m.second, m.type, m.recipient_type, m.recipient, m.status, m.source,
    m.consent_date, m.retailer_code, m.retailer_access, m.citizen_name, m.occurred_at, m.sequence,
    m.is_change, m.item, o.path, o.client, o.request_id

-- name: records_of_recipient
-- The records of one recipient, of any type.
SELECT type, recipient_type, status, consent_date, movement, count, has_access
FROM records WHERE brand = ? AND recipient = ?

-- name: records_of_recipients
-- The records of many recipients (a JSON list).
SELECT r.recipient, r.type, r.recipient_type, r.status, r.consent_date, r.movement, r.count,
    r.has_access
FROM json_each(?) AS queried CROSS JOIN records AS r ON r.brand = ? AND r.recipient = queried.value

-- name: record
-- The movement that is the record of a key.
{movement_fields}
FROM records AS r JOIN movements AS m ON m.id = r.movement JOIN origins AS o ON o.id = m.origin
WHERE r.brand = ? AND r.recipient = ? AND r.type = ? AND r.recipient_type = ?

-- name: movement
-- One movement by its row.
{movement_fields}
FROM movements AS m JOIN origins AS o ON o.id = m.origin WHERE m.id = ?

-- name: history
-- All movements of a key, the latest first: each has the id of the previous one.
WITH RECURSIVE chain (id) AS (
    SELECT movement FROM records
    WHERE brand = ? AND recipient = ? AND type = ? AND recipient_type = ?
    UNION ALL
    SELECT m.previous FROM chain JOIN movements AS m ON m.id = chain.id
    WHERE m.previous IS NOT NULL
)
{movement_fields}
FROM chain JOIN movements AS m ON m.id = chain.id JOIN origins AS o ON o.id = m.origin

-- name: stream
-- Movements of one pull stream after a second and a row, up to but excluding another second.
{movement_fields}
FROM movements AS m JOIN origins AS o ON o.id = m.origin
WHERE m.brand = ? AND m.is_citizens = ? AND (m.second, m.id) > (?, ?) AND m.second < ?
ORDER BY m.second, m.id LIMIT ?

-- name: at_second
-- The rows of one stream in one second, with the columns that make their transactionId.
SELECT id, type, recipient FROM movements
WHERE brand = ? AND is_citizens = ? AND second = ? ORDER BY id

-- name: movements_after
-- Movements of a brand after a row.
{movement_fields}
FROM movements AS m JOIN origins AS o ON o.id = m.origin
WHERE m.brand = ? AND m.id > ? ORDER BY m.id LIMIT ?

-- name: records_after
-- Records of a brand after a key, in the order of keys, with their movements and their counts.
{movement_fields}, r.count
FROM records AS r JOIN movements AS m ON m.id = r.movement JOIN origins AS o ON o.id = m.origin
WHERE r.brand = ? AND (r.recipient, r.type, r.recipient_type) > (?, ?, ?)
ORDER BY r.recipient, r.type, r.recipient_type LIMIT ?

-- name: saved_items
-- The columns that the results of a batch show of the rows it saved.
SELECT type, recipient FROM movements WHERE id BETWEEN ? AND ? ORDER BY id

-- name: insert_origin
INSERT INTO origins (path, client, request_id) VALUES (?, ?, ?)

-- name: insert_movement
INSERT INTO movements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_record
INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: mark_access
UPDATE records SET has_access = ?
WHERE brand = ? AND recipient = ? AND type = ? AND recipient_type = ?

-- name: access_of
SELECT retailer, is_collector FROM access
WHERE brand = ? AND recipient = ? AND type = ? AND recipient_type = ? ORDER BY retailer

-- name: access_count
SELECT count(*) FROM (
    SELECT DISTINCT recipient, type, recipient_type FROM access WHERE brand = ? AND retailer = ?
)

-- name: insert_access
INSERT OR IGNORE INTO access VALUES (?, ?, ?, ?, ?, ?)

-- name: delete_access
DELETE FROM access WHERE brand = ? AND recipient = ? AND type = ? AND recipient_type = ?

-- name: counts
SELECT movements, records, approvals, recipients FROM counts WHERE brand = ?

-- name: put_counts
INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?, ?)

-- name: v2_response
SELECT movement FROM v2_responses WHERE brand = ? AND digest = ? AND answered_at > ?

-- name: put_v2_response
INSERT OR REPLACE INTO v2_responses VALUES (?, ?, ?, ?)

-- name: last_movement
SELECT id, second FROM movements ORDER BY id DESC LIMIT 1

-- name: insert_batch
INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)

-- name: put_outcomes
UPDATE batches SET items = NULL, outcomes = ? WHERE request_id = ?

-- name: batch
SELECT brand, is_v2, client, accepted_at, enqueued_at, due_at, size, outcomes
FROM batches WHERE request_id = ?

-- name: waiting_batches
SELECT request_id, number, brand, is_v2, client, accepted_at, enqueued_at, due_at, items
FROM batches WHERE items IS NOT NULL ORDER BY due_at, number

-- name: count_batches
SELECT count(*), coalesce(max(number), 0) FROM batches

-- name: documents
SELECT name, value FROM documents WHERE kind = ? ORDER BY rowid

-- name: put_document
-- A replaced document keeps its position.
INSERT INTO documents VALUES (?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value

-- name: delete_document
DELETE FROM documents WHERE kind = ? AND name = ?

-- name: clear_documents
DELETE FROM documents WHERE kind = ?
