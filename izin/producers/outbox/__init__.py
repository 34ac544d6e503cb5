"""The outbox: a table in the database of another system, from which consents are relayed to Kafka.

rows      a row as an event: its fields read as those of JSON are, its id from its content
relay     one lane: rows claimed, published, and deleted once Kafka has acknowledged them
process   the process: two lanes, health and metrics
sql       the table, what wakes the relay, an example of a trigger; and the relay's own statements
"""
