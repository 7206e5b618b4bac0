"""Limits of the equivalent kernels' spectra and of learning with them, from population quantities alone."""
