"""Training of the video transformer: clips as latents with what is known of them, and priors as WorldRec makes them."""
