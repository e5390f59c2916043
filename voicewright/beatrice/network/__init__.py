"""Beatrice 2's networks."""
