"""Annex: RVC, its files, networks, conversion, training and verbs; found through the registry."""
