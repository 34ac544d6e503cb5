"""Commands for senders: whether a message may be sent, to one recipient or to those of a file."""
