"""What became of it, over HTTP: a process of its own over the ledger."""
