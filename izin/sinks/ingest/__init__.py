"""From the topics into the ledger."""
