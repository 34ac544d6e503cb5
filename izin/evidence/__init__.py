"""Evidence of a recipient: one archive, which can be verified without the ledger it is from.

What verifies an archive imports nothing of ``sinks``, and no package of an extra:
``python -m izin.evidence ARCHIVE --anchors FILE`` runs where izin's libraries are installed. Time
stamps alone need rfc3161-client, and without it they are unverified. ``collection`` reads the
ledger.
"""
