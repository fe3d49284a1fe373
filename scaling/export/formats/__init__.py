"""Export formats, one file each: a class that writes a student and reads it back."""
