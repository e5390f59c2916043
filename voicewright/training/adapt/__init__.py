"""Adapters upon a model whose own weights stay."""
