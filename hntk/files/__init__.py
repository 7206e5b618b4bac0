"""Files of arrays and metadata that are checked as they are read, so that files of unknown origin are safe to read."""
