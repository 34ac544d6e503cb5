-- name: upsert
-- Insert or update a brand. Activation, account and address keep their value when they are left out; an empty account
-- or address is any.
INSERT INTO brands (brand_code, iys_code, customer_id, name, activated_at, loading_deadline, status, account,
    egress_address, updated_at)
VALUES (%(brand_code)s, %(iys_code)s, %(customer_id)s, %(name)s, %(activated_at)s, %(loading_deadline)s,
    %(status)s, nullif(%(account)s, ''), nullif(%(egress_address)s, ''), %(now)s)
ON CONFLICT (brand_code) DO UPDATE SET
    iys_code = excluded.iys_code,
    customer_id = excluded.customer_id,
    name = excluded.name,
    activated_at = coalesce(excluded.activated_at, brands.activated_at),
    loading_deadline = excluded.loading_deadline,
    status = excluded.status,
    account = CASE WHEN %(account)s::text IS NULL THEN brands.account ELSE excluded.account END,
    egress_address = CASE WHEN %(egress_address)s::text IS NULL THEN brands.egress_address
        ELSE excluded.egress_address END,
    updated_at = excluded.updated_at
RETURNING {brand}

-- name: lock
-- A brand as it is before a change, locked until the transaction ends: one person at a time, or İYS's list, changes it
-- and its rights.
SELECT {brand} FROM brands WHERE brand_code = %(brand_code)s FOR UPDATE

-- name: save-subscription
-- Store a provider's subscription as İYS showed it, for each of its brands.
UPDATE brands SET subscription = %(subscription)s, subscription_ends_at = %(ends_at)s,
    consent_limit = %(consent_limit)s, consents_used = %(used)s, via_credit = %(via_credit)s,
    queried_at = %(now)s
WHERE iys_code = %(iys_code)s
RETURNING {brand}

-- name: to-query
-- Providers that this account and address serve, that granted something, and whose subscription was not queried lately.
SELECT DISTINCT iys_code FROM brands AS b
WHERE status = 'active' AND (queried_at IS NULL OR queried_at < %(before)s)
    AND is_served_by(b, %(account)s, %(addresses)s::text[]) AND brand_code NOT IN (SELECT brand_code FROM unreadable_brands)
ORDER BY iys_code

-- name: of-codes
-- The registered brands among these codes.
SELECT {brand}
FROM brands WHERE brand_code = ANY(%(codes)s)

-- name: all
-- Every brand.
SELECT {brand}
FROM brands ORDER BY brand_code

-- name: add-unknown
-- Record brand codes that events name and brands does not have, a thousand at most: each is looked up for every recipient.
INSERT INTO unknown_brands (brand_code, since)
SELECT code, %(now)s FROM unnest(%(codes)s::integer[]) AS code
LIMIT greatest(0, 1000 - (SELECT count(*) FROM unknown_brands))
ON CONFLICT DO NOTHING
