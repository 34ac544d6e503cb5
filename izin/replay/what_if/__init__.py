"""What-if: history judged by the settings in force and by others, and what differs.

Nothing is changed by it. ``settings`` and ``facts`` are what a key is judged by, ``changes`` judges
it, ``lists`` say to whom messages were sent, and ``run`` reads the history slice by slice.
"""
