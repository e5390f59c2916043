"""Kokoro's graph, for training and speaking."""
