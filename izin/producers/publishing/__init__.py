"""Consent events published to Kafka: lane, key, bytes, headers, acknowledgement."""
