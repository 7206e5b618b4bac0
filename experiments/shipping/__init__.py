"""Studies of shipped classifiers: packed files, ONNX, C and a microcontroller's program."""
