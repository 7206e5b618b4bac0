"""Tools of every package: checks of arguments, rows of large arrays, float64, files replaced whole, free memory."""
