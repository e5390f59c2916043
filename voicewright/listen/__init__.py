"""Machine ears: recognisers, speaker encoders, judges of quality, artefacts."""
