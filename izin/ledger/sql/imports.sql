-- name: decisions
-- The decisions on the events of one import. The bytes of its digest leave out all others without decoding them.
SELECT key, decision FROM history
WHERE kind = 'decision' AND decision IS NOT NULL
    AND position(convert_to(%(run)s::text, 'UTF8') IN decision) > 0
    AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
