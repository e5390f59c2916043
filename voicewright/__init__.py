"""Voicewright: gives Kokoro-class text-to-speech new voices."""

__version__ = "0.1.0"
