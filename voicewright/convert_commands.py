"""The `convert` command: speech in, speech of another voice out."""
