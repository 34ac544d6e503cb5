"""When a call may leave an address: ten requests a second, hourly limits, the success rate."""
