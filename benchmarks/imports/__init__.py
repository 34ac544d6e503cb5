"""How long an export takes to Kafka."""
