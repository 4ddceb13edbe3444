"""The paper's tables, its temperature study and its third figure, made again in the demo world."""
