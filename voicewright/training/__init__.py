"""One loop; a stage is a record."""
