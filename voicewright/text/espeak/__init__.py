"""The languages that espeak-ng pronounces."""
