"""İYS's daily files: fetched, checked, compared with our own, and agreed with."""
