"""What a screen of the console shows and a command prints: one function each.

cut          whose data somebody sees, and the record of who looked at whom
recipient    what is known of a recipient, may a message be sent, a new consent, evidence, erasure
explanation  the state and the history of a key in words
words        texts and instants in a language, recipients in any notation
"""
