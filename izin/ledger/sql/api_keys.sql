-- name: insert
-- Insert a key. A name that another key has, which is neither revoked nor replaced, is missing in the result.
INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels, created_at, expires_at)
VALUES (%(id)s, %(name)s, %(secret_hash)s, %(scopes)s, %(customers)s, %(brands)s, %(channels)s, %(created_at)s,
    %(expires_at)s)
ON CONFLICT (name) WHERE revoked_at IS NULL AND replaced_at IS NULL DO NOTHING
RETURNING id

-- name: of-name
-- The key of a name that is neither revoked nor replaced, locked until the transaction ends.
SELECT id, name, secret_hash, scopes, customers, brands, channels, created_at, expires_at, revoked_at
FROM api_keys WHERE name = %(name)s AND revoked_at IS NULL AND replaced_at IS NULL FOR UPDATE

-- name: replace
-- Let a key end, for another has replaced it.
UPDATE api_keys SET replaced_at = %(now)s, expires_at = %(expires_at)s
WHERE id = %(id)s AND revoked_at IS NULL AND replaced_at IS NULL
RETURNING id

-- name: revoke
-- Revoke keys; one that is revoked already is missing in the result.
UPDATE api_keys SET revoked_at = %(now)s WHERE id = ANY(%(ids)s) AND revoked_at IS NULL
RETURNING id, name, secret_hash, scopes, customers, brands, channels, created_at, expires_at, revoked_at

-- name: of-customer
-- The keys of a customer that are not revoked, locked until the transaction ends.
SELECT id, name, secret_hash, scopes, customers, brands, channels, created_at, expires_at, revoked_at
FROM api_keys WHERE %(customer_id)s = ANY(customers) AND revoked_at IS NULL ORDER BY id FOR UPDATE

-- name: narrow
-- Take customers and brands from a key.
UPDATE api_keys SET customers = %(customers)s, brands = %(brands)s WHERE id = %(id)s

-- name: all
-- Every key, also those that ended.
SELECT id, name, secret_hash, scopes, customers, brands, channels, created_at, expires_at, revoked_at
FROM api_keys ORDER BY name, created_at, id

-- name: foreign-brands
-- The brands among these that belong to none of the customers, or are not registered.
SELECT code AS brand_code FROM unnest(%(brands)s::integer[]) AS code
WHERE NOT EXISTS (SELECT FROM brands AS b WHERE b.brand_code = code AND b.customer_id = ANY(%(customers)s))
ORDER BY code
