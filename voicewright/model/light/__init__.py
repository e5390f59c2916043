"""The same without torch, in NumPy and the kernels."""
