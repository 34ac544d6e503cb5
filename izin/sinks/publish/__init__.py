"""From the ledger and İYS to the topics."""
