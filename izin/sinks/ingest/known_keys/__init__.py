"""Known keys changed in bulk: newer decisions on them, and what İYS shows of them."""
