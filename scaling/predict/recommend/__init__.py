"""Which student to train: the configurations to choose from, and the smallest that answers the question."""
