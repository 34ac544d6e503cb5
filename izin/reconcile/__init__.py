"""İYS, ledger and topics compared for a brand, and what differs repaired through admission.

judging            what each side says of a key, and its differences by kind: pure
remedies           what repairs a difference, or who must act: pure
comparing          all of it for a brand, İYS asked within the limits of its address
repairs            the repairs: in a file, and executed page by page
suppression_list   the same against the list of another tool
"""

__all__: tuple[str, ...] = ()
