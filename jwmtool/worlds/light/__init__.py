"""Rays, materials, light and weather: from triangles to pictures and truth."""
