"""What is measured of the requests: rate limits, error rates, counters and the log."""
