"""Annex: Beatrice 2, its files, network, conversion and verbs; found through the registry."""
