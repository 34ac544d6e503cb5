"""The windows for people: the command line, and the house it keeps up on one machine."""
