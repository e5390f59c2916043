"""Networks in plain torch, and weights of every known layout."""
