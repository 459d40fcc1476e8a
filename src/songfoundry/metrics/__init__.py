"""Metrics: the field's definitions, on waveforms."""
