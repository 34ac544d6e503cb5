"""What every process needs: settings, logs, HTTP servers, plans.

settings            the only reader of the environment
logs                structured logs, recipients masked, repetitions counted
plan                plan, then execute: the file, what it relies on, and its progress
http_server         HTTP servers that shed what is too much
unreadable          batches that cannot be unpacked, as operators are shown them
plain_log           log events of what also runs in other teams' processes
process, backoff, errors
"""

__all__: tuple[str, ...] = ()
