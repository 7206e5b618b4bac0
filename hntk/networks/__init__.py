"""Networks and classifiers, in floats and in whole numbers; their files, sizes and operation counts."""
