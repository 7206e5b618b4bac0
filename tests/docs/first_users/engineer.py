"""The engineer: a file of labelled samples, one command, and a C program with the accuracy that the command printed."""

import json
import subprocess
import sys

import numpy as np
from sklearn.datasets import load_digits

# bytes, as the sensor gives them; every fourth sample is kept for the test
images, digits = load_digits(return_X_y=True)
images, test = (images * 15).astype(np.uint8), np.arange(len(digits)) % 4 == 0
parts = {"x_train": images[~test], "y_train": digits[~test], "x_test": images[test], "y_test": digits[test]}
np.savez("digits.npz", **parts)

hntk = [sys.executable, "-m", "hntk"]
options = ["--kilobytes", "64", "--epochs", "3", "--to", "c", "--out", "firmware", "--json"]
printed = subprocess.run([*hntk, "compress", "digits.npz", *options], check=True, capture_output=True, text=True).stdout
told = json.loads(printed)["measured"]["accuracy"]

sources = ["firmware/digits.c", "firmware/digits_main.c"]
flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
subprocess.run(["gcc", *flags, *sources, "-o", "digits"], check=True)
answers = subprocess.run("./digits", input=images[test].tobytes(), check=True, capture_output=True).stdout
accuracy = np.mean(np.array(answers.split(), int) == digits[test])
print(f"the command printed {told:.4f}, the program has {accuracy:.4f}")
