"""Rebuild the state of the order stage, which is the topic ``desired-consents``.

planning    what is read, up to where it is decided, and what only the history has
comparison  the state as it should stand, and what differs from it
repair      compare, and write what is missing or differs
"""
