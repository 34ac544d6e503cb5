"""First loading of a customer (*rehber aktarımı*): what is lawful, what it takes, and what is left.

address_book  what files say of each key, on disk, and what is known of it
preview       which opt-ins are lawful to publish, counts, and how long İYS's limits make it take
pack          the application pack of a customer, and the consents that became void
"""
