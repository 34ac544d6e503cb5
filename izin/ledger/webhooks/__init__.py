"""Webhooks in the ledger: subscribers, cursors, and the evidence of each acknowledgement."""
