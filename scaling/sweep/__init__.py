"""Sweeps: priced before anything is spent, then trained by workers that claim trunks through files."""
