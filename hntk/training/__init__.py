"""Training of networks with ternary weights and activations of few levels, from raw samples to whole numbers."""
