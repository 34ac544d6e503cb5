-- name: upsert
-- A brand as a person or İYS describes it. An activation, once known, does not go away by being left out.
INSERT INTO brands (brand_code, iys_code, customer_id, name, activated_at, loading_deadline, status, updated_at)
VALUES (%(brand_code)s, %(iys_code)s, %(customer_id)s, %(name)s, %(activated_at)s, %(loading_deadline)s,
    %(status)s, %(now)s)
ON CONFLICT (brand_code) DO UPDATE SET
    iys_code = excluded.iys_code,
    customer_id = excluded.customer_id,
    name = excluded.name,
    activated_at = coalesce(excluded.activated_at, brands.activated_at),
    loading_deadline = excluded.loading_deadline,
    status = excluded.status,
    updated_at = excluded.updated_at
RETURNING brand_code, iys_code, customer_id, name, activated_at, loading_deadline, status

-- name: of-codes
-- The brands of these codes.
SELECT brand_code, iys_code, customer_id, name, activated_at, loading_deadline, status
FROM brands WHERE brand_code = ANY(%(codes)s)

-- name: all
-- Every brand.
SELECT brand_code, iys_code, customer_id, name, activated_at, loading_deadline, status
FROM brands ORDER BY brand_code

-- name: stop
-- Keep a brand's records of a channel and status from İYS; a stop that stands already only waits longer.
INSERT INTO stops (brand_code, channel, status, customer_id, code, why, since, recheck_at)
VALUES (%(brand_code)s, %(channel)s, %(status)s, %(customer_id)s, %(code)s, %(why)s, %(now)s, %(recheck_at)s)
ON CONFLICT (brand_code, channel, status) DO UPDATE SET
    code = excluded.code, why = excluded.why, rechecks = stops.rechecks + 1,
    recheck_at = greatest(stops.recheck_at, excluded.recheck_at)

-- name: recheck
-- Take the one try a stop allows, and put the next off; no row: the stop is not to be rechecked yet.
UPDATE stops SET recheck_at = %(recheck_at)s
WHERE brand_code = %(brand_code)s AND channel IN ('*', %(channel)s) AND status IN ('*', %(status)s)
    AND recheck_at <= %(now)s
RETURNING channel

-- name: standing
-- Whether anything keeps these records from İYS.
SELECT EXISTS (
    SELECT 1 FROM stops
    WHERE brand_code = %(brand_code)s AND channel IN ('*', %(channel)s) AND status IN ('*', %(status)s))

-- name: lift
-- İYS took a record: what kept such records from it is mended.
DELETE FROM stops
WHERE brand_code = %(brand_code)s AND channel IN ('*', %(channel)s) AND status IN ('*', %(status)s)

-- name: stops
-- What is kept from İYS, and why.
SELECT brand_code, channel, status, code, why, since, recheck_at, rechecks FROM stops
ORDER BY brand_code, channel, status
