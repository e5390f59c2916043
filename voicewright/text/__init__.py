"""Written text → phonemes → token ids; never loads torch."""
