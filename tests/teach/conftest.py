"""Lets tests import the comparison with llama.cpp, which runs by itself as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
