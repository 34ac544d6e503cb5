"""Flow from İYS to the topics and the ledger: push and pull."""
