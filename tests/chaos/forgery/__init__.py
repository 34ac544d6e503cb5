"""Generated forgeries of archives and ledgers: every one is found, and nothing genuine is."""
