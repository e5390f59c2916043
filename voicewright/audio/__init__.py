"""Files ↔ samples, loudness, mel, F0, limiting; nothing of text or models."""
