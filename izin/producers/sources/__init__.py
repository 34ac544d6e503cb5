"""Systems that can only send their own webhook: who sent it, and which consents are in it.

senders    what proves the sender: a signature, or a secret
payloads   a delivery, and the places in it
source     the mapping of one system: its payloads as input records
folder     the mappings of an installation, read anew where their files change
"""

from izin.producers.sources.folder import SourceFolder
from izin.producers.sources.payloads import Delivery
from izin.producers.sources.source import ORIGINS, PayloadSource, SourceRecord, Unmapped

__all__ = ("ORIGINS", "Delivery", "PayloadSource", "SourceFolder", "SourceRecord", "Unmapped")
