"""The campaign on the relay of an outbox."""
