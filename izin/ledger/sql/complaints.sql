-- name: add
-- Enter a complaint.
INSERT INTO complaints (customer_id, brand_code, channel, recipient, sent_at, sender, content, reference, due_at, entered_at,
    entered_by, hold_ids)
VALUES (%(customer_id)s, %(brand_code)s, %(channel)s, %(recipient)s, %(sent_at)s, %(sender)s, %(content)s, %(reference)s,
    %(due_at)s, %(now)s, %(by)s, '{}')
RETURNING *

-- name: held
-- Note which legal holds a complaint has placed.
UPDATE complaints SET hold_ids = %(hold_ids)s WHERE id = %(id)s RETURNING *

-- name: list
-- The complaints, open ones first: what is overdue, then what is due first, then what names no day; then closed ones, the
-- latest first.
SELECT * FROM complaints
WHERE (%(closed)s OR closed_at IS NULL) AND (%(brand_code)s::integer IS NULL OR brand_code = %(brand_code)s)
ORDER BY closed_at IS NOT NULL, closed_at DESC, due_at NULLS LAST, id

-- name: of-recipient
-- The complaints of a recipient, in order.
SELECT * FROM complaints
WHERE hashtextextended(recipient, 0) = hashtextextended(%(recipient)s, 0) AND recipient = %(recipient)s
    AND (%(customer)s::text IS NULL OR customer_id = %(customer)s)
ORDER BY id

-- name: one
-- One complaint.
SELECT * FROM complaints WHERE id = %(id)s

-- name: lock
-- One complaint, as it is before a change.
SELECT * FROM complaints WHERE id = %(id)s FOR UPDATE

-- name: attach
-- Attach an archive of evidence.
UPDATE complaints SET evidence_path = %(path)s, evidence_sha256 = %(sha256)s WHERE id = %(id)s RETURNING *

-- name: close
-- Close a complaint.
UPDATE complaints SET closed_at = %(now)s, closed_by = %(by)s, outcome = %(outcome)s, note = %(note)s
WHERE id = %(id)s AND closed_at IS NULL RETURNING *

-- name: counts
-- How many are open, and how many of those are overdue.
SELECT count(*) AS open, count(*) FILTER (WHERE due_at < %(now)s) AS overdue FROM complaints WHERE closed_at IS NULL
