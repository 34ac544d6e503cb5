-- name: begin
-- An address seen for the first time goes at full pace.
INSERT INTO budgets (egress_address, free_at, factor, paused_until)
VALUES (%(address)s, clock_timestamp(), 1, clock_timestamp())
ON CONFLICT DO NOTHING

-- name: next-slot
-- Take the address's next free slot: seconds until it comes, by the database's clock, which all processes share.
WITH slot AS (
    SELECT greatest(free_at, clock_timestamp()) AS at, factor
    FROM budgets WHERE egress_address = %(address)s FOR UPDATE
)
UPDATE budgets SET
    free_at = slot.at + (%(interval)s / slot.factor) * interval '1 second',
    factor = least(1, slot.factor + %(creep)s)
FROM slot
WHERE egress_address = %(address)s
RETURNING extract(epoch FROM slot.at - clock_timestamp())::double precision

-- name: slow-down
-- İYS said "too many": everybody pauses, then goes at half the pace. Several of one burst count once.
UPDATE budgets SET
    paused_until = clock_timestamp() + %(pause)s * interval '1 second',
    free_at = greatest(free_at, clock_timestamp() + %(pause)s * interval '1 second'),
    factor = greatest(%(slowest)s, factor / 2)
WHERE egress_address = %(address)s AND paused_until <= clock_timestamp()
