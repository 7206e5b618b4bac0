"""Networks of few levels that are trained: accuracy against flash, starts, one network by command."""
