"""Training of WorldRec: windows of clips, losses, scores on clips kept away."""
