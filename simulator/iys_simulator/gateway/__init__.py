"""What every request passes before its endpoint: limits, faults, token, path, subscription."""
