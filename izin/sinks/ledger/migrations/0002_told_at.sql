-- Two movements of a key reach İYS at least a second apart: it has no finer clock.
ALTER TABLE consents ADD COLUMN told_at timestamptz;
COMMENT ON COLUMN consents.told_at IS 'When something of this key was last told to İYS, or the answer to it came.';
