-- name: all
-- The credentials that İYS may use, with those before them as long as they are accepted.
SELECT salt, fingerprint FROM push_registrations
UNION
SELECT former_salt, former_fingerprint FROM push_registrations
WHERE former_salt IS NOT NULL AND coalesce(registered_at, 'infinity') > %(former_since)s

-- name: of
-- The registration of a brand at this address.
SELECT salt, fingerprint, channels FROM push_registrations
WHERE brand_code = %(brand_code)s AND url = %(url)s

-- name: begin
-- Credentials that are about to be registered. Those before them are kept if İYS has them.
INSERT INTO push_registrations AS mine (brand_code, url, salt, fingerprint)
VALUES (%(brand_code)s, %(url)s, %(salt)s, %(fingerprint)s)
ON CONFLICT (brand_code, url) DO UPDATE SET
    salt = excluded.salt, fingerprint = excluded.fingerprint, registered_at = NULL, channels = '{}',
    former_salt = CASE WHEN mine.channels = '{}' THEN mine.former_salt ELSE mine.salt END,
    former_fingerprint = CASE WHEN mine.channels = '{}' THEN mine.former_fingerprint ELSE mine.fingerprint END

-- name: add-channel
-- İYS has them for a channel now. No row: others were begun meanwhile.
UPDATE push_registrations SET channels = array_append(array_remove(channels, %(channel)s), %(channel)s),
    registered_at = CASE WHEN array_append(channels, %(channel)s) @> %(every)s::text[]
        THEN coalesce(registered_at, %(now)s) END
WHERE brand_code = %(brand_code)s AND url = %(url)s AND fingerprint = %(fingerprint)s
RETURNING brand_code

-- name: remove-channel
-- İYS pushes a channel to this address no more.
UPDATE push_registrations SET channels = array_remove(channels, %(channel)s)
WHERE brand_code = %(brand_code)s AND url = %(url)s
