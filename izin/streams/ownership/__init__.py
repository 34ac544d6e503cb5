"""One partition, owned by one worker at a time, and committed exactly once.

partition_transaction  fence, catch up, commit     positions       up to where it is decided
changelog              reads the state back        mark            proof against stale brokers
effects                what a batch writes         bounded_reader  reads partitions to their ends
commit                 waits without blocking      shared_clients  what all partitions share
"""
