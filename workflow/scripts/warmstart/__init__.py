"""The ideas of the study, a folder for each room; nothing in here knows of Snakemake.

Imports run downwards only:

    report > export > training, decoding > study > adaptation > models > evidence > data > run

What is read while the DAG is built (`study/`, and the registries in the `__init__.py` of `models`,
`adaptation`, `evidence/analyses` and `data/corpora`) uses the standard library and what Snakemake
brings, so that a dry run needs no GPU stack. Everything else may import torch, NeMo, Lhotse and
pandas.
"""

# The one place: CITATION.cff and the first entry of CHANGELOG.md are held to it by a test.
__version__ = "0.2.0"
