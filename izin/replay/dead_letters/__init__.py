"""Dead letters that come back: at admission, so that the law decides them like any other record.

    redrive      the whole of it: what would happen, then what did
    outcomes     the record that a letter becomes, the law over it, and what became of it
    reading      letters, and which of them
    correction   a new event in place of a letter

Who did what to which letter is in the history of the ledger (``ledger.dead_letters``).
"""
