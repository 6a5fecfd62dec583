"""Pure functions over waveforms and codes: no Qt, no torch, no files."""
