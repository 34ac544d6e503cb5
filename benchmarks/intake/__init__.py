"""The intake: how many posts it takes, and how soon an opt-out that it takes has its effect."""
