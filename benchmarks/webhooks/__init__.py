"""Webhooks: how soon an opt-out reaches its subscribers, and how many deliveries a core makes."""
