"""HTTP servers that shed what is too much, and no more: the intake, the push receiver, operations.

addresses where a server listens
problems  error responses (RFC 9457); health and metrics for operators
shedding  how many requests, how slow a client; refuses what is beyond that
server    binds, serves, stops; closes connections that are idle or slow, and the idlest when there
          are too many
"""
