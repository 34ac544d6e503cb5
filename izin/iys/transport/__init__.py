"""How a call leaves for İYS: HTTP connections, pacing, circuit breakers."""
