"""Topics read: to an end that they had, or on and on.

bounded_reader  reads partitions from given offsets to given ends, once; and a consumer for those
                who know their offsets themselves
follower        reads a topic into a table, and knows for how long that may lack the latest
"""
