"""Who signs in to the console: accounts, and the sessions and links by which they are known; and
the mappings of files that are imported there.
"""
