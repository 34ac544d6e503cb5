-- What waits after a failed call to İYS, and what it failed for.

ALTER TABLE access_tokens
    -- Two bytes of a digest of the password that the failures are of; NULL: written by an older release.
    ADD COLUMN password_digest bytea;

ALTER TABLE stream_cursors
    -- Since when each call for the stream failed, and what the last one failed for; NULL: the last one succeeded.
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN failure text;
