"""Flow from the ledger and İYS to the topics."""
