"""The sinks: the ledger in PostgreSQL, and the flows between the topics, the ledger and İYS.

``worker`` composes them. For operators, ``ledger.reads`` has the queries, ``ledger.brands`` the
changes of brands, and ``ledger.db.migrate`` what a new release runs.
"""
