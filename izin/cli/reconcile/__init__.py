"""``izin reconcile``: İYS, ledger and topics compared, and what differs repaired."""
