"""Annex: a server for the clients of w-okada's voice changer."""
