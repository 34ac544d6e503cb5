"""Out: the ledger, and everything that stands between it, the topics and İYS.

``worker`` puts it together; ``ledger.reads`` is what people ask, ``ledger.brands`` what they order,
``ledger.migrate`` what a new release runs.
"""
