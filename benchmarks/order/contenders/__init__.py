"""The contenders of the order comparison, one module each, configured as their documents advise.

All read the same topic and write the latest row of each key (``latest_wins``) to one topic;
``pass_through`` copies its input, and ``izin_everything`` is the product as it is. A contender
is a process of its own, started with the fields of ``task.Task``, and runs until it is ended.
"""

__all__: tuple[str, ...] = ()
