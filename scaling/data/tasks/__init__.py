"""Tasks with one right answer: compositional languages, what they keep from training, and exact match."""
