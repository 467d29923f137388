"""3D/4D Gaussians: the data class, spherical harmonics to color, sky, exposure and the rasterizer."""
