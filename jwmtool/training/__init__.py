"""Training: one loop for every model, on one CPU, one GPU, or many of them under torchrun."""
