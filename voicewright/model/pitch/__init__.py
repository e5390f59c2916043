"""Neural pitch estimators."""
