"""İYS's error responses: the envelope, and each code with its status and message."""
