"""``izin iys`` and ``izin customers brake``: opt-outs of which registering waits for a person."""
