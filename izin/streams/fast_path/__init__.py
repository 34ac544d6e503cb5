"""What exists only for speed; whatever it does not recognize takes the general path.

    simple_events  reads and decides simple events on their bytes   guard, consent.ordering
    rows           a row of desired-consents from packed fields     codec.encode
                   the same row, read back by offsets               codec.decode_consent

The general path of each is named beside it; ``docs/fast-path.md`` names the tests that hold them
equal, and what each saves.
"""
