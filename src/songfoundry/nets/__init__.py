"""Nets: tensors to tensors. One family a file; a file with a module constant `NET` is registered under its own name."""
