"""What runs an experiment: settings, sweeps, records, and the mirror in W&B."""
