"""What the relay of an outbox costs the system whose database it reads."""
