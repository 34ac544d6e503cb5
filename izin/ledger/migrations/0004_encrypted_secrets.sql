-- The secrets of webhooks may be encrypted, as the tokens of İYS are: aes256gcm:KEY:CIPHERTEXT, where KEY is the id of the
-- key of IZIN_SECRET_KEYS (izin/ledger/record/secret_keys.py). Workers of the release before read and write none of these:
-- set a key once all processes are of this release.
ALTER TABLE subscribers
    DROP CONSTRAINT subscribers_secret_check,
    DROP CONSTRAINT subscribers_former_secret_check,
    ADD CONSTRAINT subscribers_secret_check CHECK (secret ~ '^(whsec_|aes256gcm:[0-9a-f]{8}:)'),
    ADD CONSTRAINT subscribers_former_secret_check CHECK (former_secret ~ '^(whsec_|aes256gcm:[0-9a-f]{8}:)');
COMMENT ON COLUMN subscribers.secret IS
    'What signs; whoever signs must have it as it is, so it is no hash. Encrypted, but for those from before a key was set.';
COMMENT ON COLUMN access_tokens.access_token IS
    'Encrypted, but for those from before a key was set; so is refresh_token.';
