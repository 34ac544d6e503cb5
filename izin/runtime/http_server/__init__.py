"""HTTP servers that shed what is too much, and no more: the intake, the push receiver, operations.

limits       how many requests, how slow a client
problems     error responses (RFC 9457)
shedding     refuses requests beyond the limits
connections  closes connections that are idle or slow, and the idlest when there are too many
operations   health and metrics for operators
server       binds, serves, stops
"""
