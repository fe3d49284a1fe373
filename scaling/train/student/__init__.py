"""The student itself: its layers, what it writes, and how it answers."""
