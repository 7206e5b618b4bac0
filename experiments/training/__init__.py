"""Networks of few levels that are trained: accuracy against flash, where training starts, and one network by command."""
