"""The domains' numbers: the paper's tables, one a line, each with its source."""
