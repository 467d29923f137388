"""Training of the image autoencoder: pictures of clips, losses, scores on clips kept away."""
