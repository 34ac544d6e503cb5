"""From İYS to the topics and the ledger: push and pull."""
