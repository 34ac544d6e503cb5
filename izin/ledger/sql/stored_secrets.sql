-- name: all
-- Every row that has secrets, as they are encrypted for it: an access token and what renews it, or what signs webhooks
-- now and what did before.
SELECT 'access_tokens/' || account AS row, access_token AS first, refresh_token AS second FROM access_tokens
UNION ALL
SELECT 'subscribers/' || name, secret, former_secret FROM subscribers
ORDER BY row

-- name: replace
-- Replace the secrets of a row, unless they were renewed meanwhile. The secrets of a subscriber stay the same, and whoever
-- delivers goes on with them: its version stays.
WITH tokens AS (
    UPDATE access_tokens SET access_token = %(first)s, refresh_token = %(second)s
    WHERE 'access_tokens/' || account = %(row)s AND access_token IS NOT DISTINCT FROM %(old_first)s
        AND refresh_token IS NOT DISTINCT FROM %(old_second)s
)
UPDATE subscribers SET secret = %(first)s, former_secret = %(second)s
WHERE 'subscribers/' || name = %(row)s AND secret = %(old_first)s AND former_secret IS NOT DISTINCT FROM %(old_second)s

-- name: drop-ended
-- Drop what is of no use any more: tokens that are over, and secrets of webhooks that sign no more.
WITH tokens AS (
    UPDATE access_tokens SET access_token = NULL, refresh_token = NULL
    WHERE greatest(expires_at, refresh_expires_at) <= %(now)s
)
UPDATE subscribers SET former_secret = NULL, former_until = NULL WHERE former_until <= %(now)s
