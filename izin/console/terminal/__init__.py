"""What every command shares: output, tables, arguments, signals, access to the ledger."""
