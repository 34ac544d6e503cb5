"""Kafka Connect, unchanged, between the topics and a subscriber's database."""
