"""RVC voices on recordings and live, and their index."""
