"""Access lists that are changed at İYS by a command which is killed."""
