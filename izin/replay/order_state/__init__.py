"""Rebuild the state of the order stage, which is the topic ``desired-consents``.

planning    what is read, up to where it is decided, and what only the history has
shadow      the state as it should stand
comparison  what differs from what stands
repair      compare, and write what is missing or differs
"""
