-- name: registered
-- İYS has accepted consents with these retailers: they are registered, and nothing else is desired.
INSERT INTO retailer_access (key, customer_id, brand_code, channel, registered_code, registered_access)
SELECT r.key, r.customer_id, r.brand_code, r.channel, r.code, r.access
FROM json_to_recordset(%(rows)s::json)
    AS r (key text, customer_id text, brand_code integer, channel text, code integer, access integer[])
ON CONFLICT (key) DO UPDATE SET
    registered_code = excluded.registered_code, registered_access = excluded.registered_access,
    desired_by = NULL, desired_code = NULL, desired_access = NULL, since = NULL

-- name: desired
-- Events that are not submitted, for İYS holds the consent, name these retailers: a difference, unless the same ones
-- are registered.
INSERT INTO retailer_access AS a (
    key, customer_id, brand_code, channel, desired_by, desired_code, desired_access, since)
SELECT r.key, r.customer_id, r.brand_code, r.channel, r.event_id, r.code, r.access, %(now)s
FROM json_to_recordset(%(rows)s::json)
    AS r (key text, customer_id text, brand_code integer, channel text, event_id text, code integer,
        access integer[])
ON CONFLICT (key) DO UPDATE SET (desired_by, desired_code, desired_access, since) = (
    SELECT excluded.desired_by, excluded.desired_code, excluded.desired_access,
        CASE WHEN a.desired_by = excluded.desired_by THEN a.since ELSE excluded.since END
    WHERE (a.registered_code, a.registered_access) IS DISTINCT FROM (excluded.desired_code, excluded.desired_access))

-- name: ended
-- İYS no longer holds these consents, and with them no access.
DELETE FROM retailer_access WHERE key = ANY(%(keys)s)

-- name: of-keys
-- The retailers that İYS holds with the consents of these keys.
SELECT key, array_remove(registered_code || coalesce(registered_access, '{}'), NULL) AS retailers
FROM retailer_access
WHERE key = ANY(%(keys)s) AND num_nonnulls(registered_code, registered_access) > 0

-- name: settle
-- A person has entered the desired retailers of these consents at İYS, where they still are what the person was shown.
UPDATE retailer_access AS a SET
    registered_code = a.desired_code, registered_access = a.desired_access,
    desired_by = NULL, desired_code = NULL, desired_access = NULL, since = NULL
FROM (
    SELECT r.key, r.desired_by, r.registered_code, r.registered_access
    FROM unnest(%(keys)s::text[], %(event_ids)s::text[], %(since)s::timestamptz[]) AS p (key, event_id, since)
    JOIN retailer_access AS r ON r.key = p.key AND r.desired_by = p.event_id AND r.since = p.since
    WHERE r.brand_code = %(brand_code)s
    ORDER BY r.key FOR UPDATE OF r
) AS was
WHERE a.key = was.key
RETURNING a.key, a.customer_id, was.desired_by AS event_id, a.registered_code AS code, a.registered_access AS access,
    was.registered_code AS code_before, was.registered_access AS access_before

-- name: differences
-- The consents of a brand whose retailers a person has to change at İYS.
SELECT key, desired_by AS event_id, registered_code, registered_access, desired_code, desired_access, since
FROM retailer_access
WHERE brand_code = %(brand_code)s AND desired_by IS NOT NULL
ORDER BY key
