"""The gate: whether a message may be sent, asked over HTTP before it is.

A process of its own, which needs Kafka alone and stores nothing. It fails closed: where it does not
know enough, the answer is no.

What it knows, in memory:

state       what is known of keys, brands and İYS's data, and how fresh it is
sources     the topics that it is read from, and when a key is released that an opt-out has closed
key_tables  what the ledger and the order stage have said of each key, and the input lanes
undecided   the keys that opt-outs of these lanes close

What it answers:

question    what a sender asks
verdicts    the answers to a question, by the state and the law
receipts    answers that are kept, in the topic ``gate-receipts``
metrics     figures for operators, and what they should know although the gate works
server      HTTP: a question in, verdicts or a problem out; and the process
"""

__all__: tuple[str, ...] = ()
