"""Flow from the topics into the ledger."""
