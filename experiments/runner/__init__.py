"""What runs an experiment: settings, sweeps, records, tracking."""
