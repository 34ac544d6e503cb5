"""What-if: history judged by the calendar in force and by another one, and what differs.

Nothing is changed by it. ``key_history`` is what a key is judged by, ``changes`` judges it, and
``run`` reads the history slice by slice.
"""
