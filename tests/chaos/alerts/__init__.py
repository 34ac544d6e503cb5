"""How soon faults of the local stack are alerted."""
