"""izin: consent records and İYS telling the same story."""
