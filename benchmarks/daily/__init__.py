"""İYS's daily file of a large day: fetched, checked and compared."""
