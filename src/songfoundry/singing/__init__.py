"""Sing: speech and a tune in, a sung vocal out, mixed with its backing."""
