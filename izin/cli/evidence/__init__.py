"""``izin evidence`` and ``izin complaints``: what is handed to an authority."""
