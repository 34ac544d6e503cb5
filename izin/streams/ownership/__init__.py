"""One partition, owned by one worker at a time, and committed exactly once.

partition_transaction   fence, catch up, commit    positions       up to where it is decided
transactional_producer  writes transactions        shared_clients  what all partitions share
effects                 what a batch writes        token_provider  tokens for aiokafka
changelog               reads the state back
"""
