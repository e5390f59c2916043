"""Is it any good? Speech beside recordings, by every ear there is."""
