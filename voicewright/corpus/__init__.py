"""Recordings → a corpus → features."""
