"""RVC's synthesizer, its discriminators and losses."""
