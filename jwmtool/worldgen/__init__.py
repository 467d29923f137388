"""Video: latents, the transformer that makes them, and streaming it."""
