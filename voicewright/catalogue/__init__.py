"""Where models are, what is published, fetched, shipped and adapted."""
