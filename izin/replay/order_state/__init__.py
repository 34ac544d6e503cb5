"""Rebuild the state of the order stage, which is the topic ``desired-consents``.

planning    what is read, up to where it is decided, and what only the history has
shadow      the state as it should stand
comparison  what differs from what stands
rebuilding  all partitions, and what each gave
switch      write what is missing or differs
"""
