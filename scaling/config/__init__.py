"""The sweep file that a person writes: read with positions, checked whole, expanded into runs."""
