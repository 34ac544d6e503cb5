"""One partition, owned by one worker at a time, and committed exactly once.

partition_transaction   fence, catch up, commit    positions       up to where it is decided
transactional_producer  writes transactions        mark            proof against stale brokers
encoded_batch           records as Kafka has them  credentials     how aiokafka logs in
effects                 what a batch writes        shared_clients  what all partitions share
changelog               reads the state back       repartitioning  records keyed another way
"""
