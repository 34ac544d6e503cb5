"""The sweep: İYS is asked for the status of every key of a brand, a thousand in a request."""
