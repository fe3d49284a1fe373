"""Columns of a runs table that tell texts apart and say how far a teacher is from real text."""

REAL = "real"
"""What stands under `teacher` where there is none."""
DELTAS = ("delta_coverage", "delta_noise")
GENERATOR_DELTAS = ("generator_delta_coverage", "generator_delta_noise")
TEXT_COLUMNS = (*DELTAS, *GENERATOR_DELTAS, "real_share", "teacher_loss")
"""Columns that describe what a run read: the same for all runs of one text."""
