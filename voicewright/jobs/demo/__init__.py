"""The demonstration, by the very commands that it shows."""
