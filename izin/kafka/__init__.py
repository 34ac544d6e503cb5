"""Topics read: to an end that they had, or on and on.

bounded_reader  reads partitions from given offsets to given ends, once; and a consumer for those
                who know their offsets themselves; how many records somebody has before him,
                and since when the oldest waits
follower        reads a topic into a table, and knows for how long that may lack the latest
tables          what several processes keep of topics in memory
"""
