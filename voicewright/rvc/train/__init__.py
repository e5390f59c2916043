"""RVC voices trained from a corpus."""
