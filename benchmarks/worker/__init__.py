"""One order worker: latency, restart, replay, poison records and the cost of its state."""
