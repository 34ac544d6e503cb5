"""Resends: what a subscriber was sent comes again, marked, and never over something newer.

cursors     where a subscriber begins, and where a resend begins and ends
repetition  which events of a resend are still true, and how they are marked
guard       asks the ledger, and watches what comes meanwhile
older       opt-outs that are older than their topic, from the history
"""
