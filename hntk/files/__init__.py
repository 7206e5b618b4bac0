"""Files of arrays that can be read back, whoever wrote them."""
