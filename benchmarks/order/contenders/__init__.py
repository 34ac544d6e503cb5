"""The runners of the order race, one small file each, tuned as their own documents recommend.

All read the same topic and write the latest statement of each key (``latest_wins``) to one topic;
``pass_through`` writes what it reads, and ``ours_everything`` is the product as it is. A runner is
a process of its own, started with the fields of ``task.Task``, and runs until it is ended.
"""

__all__: tuple[str, ...] = ()
