"""İYS, ledger and topics compared for a brand, and what differs repaired through admission.

sides              what each side says of a key
judging            the differences of a key, by kind: pure
trails             which path showed a movement of İYS, from the history
remedies           what repairs a difference, or who must act: pure
topic_tables       what the topics have, in tables of a session
asking             ask İYS, within the limits of the address
comparing          all of it for a brand
plan               the repairs, in a file
executing          the repairs, page by page
suppression_list   the same against the list of another tool
"""

__all__: tuple[str, ...] = ()
