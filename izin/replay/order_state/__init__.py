"""Rebuild the state of the order stage, which is the topic ``desired-consents``.

planning       what is read, up to where it is decided     removed_input  the part that the topics
rows           rows in one form                                           no longer have
shadow         the state as it should stand                erased_keys    keys in order of decision
standing       the rows as they stand                      comparison     what differs
results        what a partition gave, in the work folder   rebuilding     all partitions
switch         write what is missing or differs
"""
