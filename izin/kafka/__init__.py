"""Kafka: its clients, and topics read: to an end that they had, or on and on.

clients         clients of this installation, and its topics: created, repaired and checked
access          how a program reaches Kafka that uses the libraries, by arguments or variables
connections     the defaults of all clients, and what is wrong where Kafka does not answer
registry_client ids and schemas of the schema registry
broker_watch    whether a server answers, such as Kafka
bounded_reader  reads partitions from given offsets to given ends, once; and a consumer for those
                who know their offsets themselves; how many records somebody has before him,
                and since when the oldest waits
follower        reads a topic into a table, and knows for how long that may lack the latest
tables          what several processes keep of topics in memory
"""
