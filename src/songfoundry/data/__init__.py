"""Data: songs, draws and what is made by code. Waveforms, never spectrograms; knows no nets."""
