"""A client of İYS: its methods as typed calls, its responses as verdicts, its limits as arithmetic.

client          one method for each call of İYS
register_calls  its calls about single recipients: İYS's own history, reject links
retailer_calls  its calls about retailers (bayi), and which consents each may use
via_calls       its calls by which it asks somebody for consent (ViA)
exchange        HTTP, in its slot and while its circuit is closed
tokens          the access token of an account
rate_limit      when a call may be sent, and which goes first; circuit breakers
wire_format     İYS's JSON as typed values
errors          what an H-code means, and who has to act
"""
