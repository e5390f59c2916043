"""ONNX graphs: written, compressed, read."""
