"""Voicepacks: read, written, mixed, mended, fitted."""
