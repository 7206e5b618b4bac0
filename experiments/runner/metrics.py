"""Names that one module writes and another reads: what the memory experiment measures, and keys in W&B."""

from __future__ import annotations

READOUTS = ("ridge", "softmax")
FILE_BYTES = "bytes/file"
FORMULA_BYTES = "bytes/formula"
BIT_OPERATIONS = "operations/bits"
PLANE_OPERATIONS = "operations/planes"
ACTIVATION_BYTES = "memory/activations"
KERNEL_ERROR = "kernel/error"
# the history of a training; its first column is the axis
TRAINING = "training"
EPOCH, LOSS, HELD_OUT, LEARNING_RATE = TRAINING_COLUMNS = ("epoch", "loss", "validation accuracy", "learning rate")
# the table of a sweep's jobs, and the numbers of jobs
JOBS = "jobs"
JOBS_DONE, JOBS_FAILED = "jobs/done", "jobs/failed"


def accuracy(readout: str) -> str:
    """Return the metric of the test accuracy with a readout."""
    return f"accuracy/{readout}"


def history_key(history: str, column: str) -> str:
    """Return the key of a history's column in W&B."""
    return f"{history}/{column}"


def table_key(table: str) -> str:
    """Return the key of a table in W&B."""
    return f"tables/{table}"
