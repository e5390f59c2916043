"""The content network that lets a model convert speech into its own voice."""
