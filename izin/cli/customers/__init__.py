"""``izin customers``: whose consents are managed, and what İYS shows of their brands."""
