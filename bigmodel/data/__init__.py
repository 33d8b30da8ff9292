"""Files to splits of checked rows, and rows to tensors."""
