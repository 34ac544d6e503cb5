"""``izin deadlines``: what is due and by when, and terms that were counted wrongly."""
