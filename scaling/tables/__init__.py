"""From any table of runs to checked observations: files, expressions over columns, units, and which rows are runs."""
