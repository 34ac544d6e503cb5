"""``izin doctor``: checks of every part of an installation, and a remedy for each finding."""
