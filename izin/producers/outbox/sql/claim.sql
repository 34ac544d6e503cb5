-- The first rows of a lane that no other relay has, locked until the transaction ends. There is no cursor: what is
-- committed late, under whatever id, is found by the next one.
SELECT id, json_strip_nulls(row_to_json(izin_outbox))::text AS record
FROM izin_outbox
WHERE CASE WHEN status = 'ONAY' THEN 1 ELSE 0 END = %(lane)s
ORDER BY id
LIMIT %(batch_size)s
FOR UPDATE SKIP LOCKED
