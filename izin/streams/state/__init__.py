"""What is desired of each key of a partition: packed, in memory or in RocksDB.

state    the interface, and the state in memory     rocks        the state on disk
packing  a consent in few bytes                     folder_lock  one worker a folder
"""
