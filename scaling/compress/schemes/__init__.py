"""The quantization schemes, one file each."""
