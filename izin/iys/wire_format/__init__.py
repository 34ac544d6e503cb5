"""İYS's JSON as typed values: consents, batches, account, push, error envelopes."""
