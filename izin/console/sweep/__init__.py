"""``izin iys sweep`` and ``izin iys counts``: İYS's register beside the ledger."""
