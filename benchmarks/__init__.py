"""The race track: speeds as ratios measured in one run, with the machine named.

Outside the house, like the servers and the twin: nothing of the product imports it. Run it with
``make bench`` or ``python -m izin.bench``.
"""
