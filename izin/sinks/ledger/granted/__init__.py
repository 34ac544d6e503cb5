"""What İYS lists of the brands granted to our account: the list, and what follows from it."""
