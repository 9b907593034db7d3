"""The ideas of the study, a folder for each room; nothing in here knows of Snakemake.

Imports run downwards only: report > export, adaptation > training, decoding > models > study >
evidence > data > run. What is read while the DAG is built (`study/` and what it imports) uses the
standard library and what Snakemake brings, so that a dry run needs no GPU stack. Everything else
may import torch, NeMo, Lhotse and pandas.
"""
