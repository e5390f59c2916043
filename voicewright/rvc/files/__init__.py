"""RVC's files, opened without trust."""
