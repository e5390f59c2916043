"""English as it is written, said and pronounced."""
