"""Dead letters that come back: at admission, so that the law decides them like any other record.

    redrive      the whole of it: what would happen, then what did
    preview      the law over the present state     results     what became of each
    orders       the record that a letter becomes   correction  a new event in place of a letter
    reading      letters, one after the other       selection   which of them
    letter       what a letter says                 outcomes    what can become of one

Who did what to which letter is in the history of the ledger (``sinks.ledger.dead_letters``).
"""
