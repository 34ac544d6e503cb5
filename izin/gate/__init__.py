"""The gate: may a message be sent now, answered from memory.

state           what is known of keys, brands and İYS's data, and how fresh it is
sources         the topics that it is read from
releasing       when a key may be released that an undecided opt-out has closed
lane_table      opt-outs of the input lanes, found in what is mostly something else
undecided       the keys that they close
key_tables      what the ledger and the order stage have said of each key
iys_freshness   when İYS's data were last pulled
"""

__all__: tuple[str, ...] = ()
