"""Child processes that run one exported file in one engine each.

They are started by path and import nothing of this project but ``process.py`` beside them, so that their memory is the
engine's and the interpreter's alone, and a crash of an engine ends its process and no other.
"""
