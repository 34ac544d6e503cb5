"""Faults on the processes that post webhooks, on their servers and on their subscribers."""
