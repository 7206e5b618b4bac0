"""Networks as files, ONNX, C and a microcontroller's program."""
