"""Whisper whole, encoder and decoder (arXiv 2212.04356), as transformers has it."""
