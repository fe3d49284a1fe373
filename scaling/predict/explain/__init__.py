"""A forecast taken apart: its terms, its teacher, what more size or data would bring, and how models compare."""
