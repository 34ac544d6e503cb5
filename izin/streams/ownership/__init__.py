"""One partition, owned by one worker at a time, and committed exactly once.

partition_transaction  fence, catch up, commit     mark            proof against stale brokers
changelog              reads the state back        shared_clients  what all partitions share
effects                what a batch writes
"""
