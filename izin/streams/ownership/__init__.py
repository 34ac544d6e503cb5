"""One partition, owned by one worker at a time, and committed exactly once.

owned_partition         fence, catch up, commit    positions       what is decided, read back
transactional_producer  writes transactions        shared_clients  what all partitions share
effects                 what a batch writes        token_provider  tokens for aiokafka
"""

from izin.streams.ownership.effects import (
    DEAD_LETTER,
    SUPPRESSED,
    Effects,
    OutputRecord,
    output_record,
)
from izin.streams.ownership.owned_partition import OwnedPartition
from izin.streams.ownership.positions import Changelog, DecidedOffsets, LanePosition, Positions
from izin.streams.ownership.shared_clients import SharedClients, credentials

__all__ = (
    "DEAD_LETTER",
    "SUPPRESSED",
    "Changelog",
    "DecidedOffsets",
    "Effects",
    "LanePosition",
    "OutputRecord",
    "OwnedPartition",
    "Positions",
    "SharedClients",
    "credentials",
    "output_record",
)
