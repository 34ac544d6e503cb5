"""What-if: history judged by the settings in force and by others, and what differs.

Nothing is changed by it. ``settings`` and ``facts`` are what a key is judged by, ``answers`` and
``obligations`` judge it, ``changes`` are what differs, ``receipts`` and ``lists`` say to whom
messages were sent, and ``run`` reads the history slice by slice.
"""
