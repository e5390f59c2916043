"""Whole jobs, each joining several rooms: what commands and `import voicewright` call."""
