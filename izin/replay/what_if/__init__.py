"""What-if: history judged by the settings in force and by others, and what differs.

Nothing is changed by it. ``settings`` and ``facts`` are what a key is judged by, ``answers`` and
``changes`` judge it, ``lists`` say to whom messages were sent, ``results`` keep what was found, and
``run`` reads the history slice by slice.
"""
