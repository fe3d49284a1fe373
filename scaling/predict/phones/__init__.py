"""Phones: what is known of each, what a student takes there in memory and time."""
