"""Who is registered: customers, their API keys, and the records of their brands."""
