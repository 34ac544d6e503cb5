"""The gate: whether a message may be sent, asked over HTTP before it is.

A process of its own, which needs Kafka alone and stores nothing. It fails closed: where it does not
know enough, the answer is no.

What it knows, in memory:

state            what is known of keys, brands and İYS's data, and how fresh it is
sources          the topics that it is read from
releasing        when a key may be released that an undecided opt-out has closed
lane_table       opt-outs of the input lanes, found in what is mostly something else
undecided        the keys that they close
key_tables       what the ledger and the order stage have said of each key
iys_freshness    when İYS's data were last pulled

What it answers:

question         what a sender asks
verdicts         the answers to a question, by the state and the law
health_warnings  what operators should know although the gate works
receipts         answers that are kept, in the topic ``gate-receipts``
metrics          figures for operators
answers          what is answered, and the problems that a sender can do something about
endpoint         HTTP: ``question`` in, ``answers`` out
server           the process
"""

__all__: tuple[str, ...] = ()
