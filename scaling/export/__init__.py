"""From a trained student to a file that a phone engine runs, and the proof that it does what was forecast."""
