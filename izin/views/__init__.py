"""What a screen of the console shows and a command prints: one function each.

cut      whose data somebody sees, and the record of who looked at whom
"""
