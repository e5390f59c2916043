"""The graph for speaking on a CPU, with compiled kernels."""
