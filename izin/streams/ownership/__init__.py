"""One partition, owned by one worker at a time, and committed exactly once.

owned_partition  fence, catch up, commit       mark       proof against stale brokers
changelog        reads the state topic back    positions  committed and earliest offsets
effects          what a batch writes
"""
