"""Per-scene optimization: fit Gaussians to a clip by gradient descent through the rasterizer."""
