"""First loading of a customer (*rehber aktarımı*): what is lawful, what it takes, and what is left.

address_book   what files say of each key, on disk        known_keys   what is known of them
review         which opt-ins are lawful to publish        what_if      counts and forecast
loading_time   how long İYS's limits make it take         loading      import, and its progress
pack           the application pack of a customer         void         consents that became void
"""
