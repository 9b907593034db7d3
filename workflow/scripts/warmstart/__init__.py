"""The ideas of the study, one module per noun; nothing in here knows of Snakemake.

Modules imported while the DAG is built (`errors`, `study`, `tier`, `resources`, `text`) use the standard library and what
Snakemake brings, so that a dry run needs no GPU stack. Everything else may import torch, NeMo, Lhotse and pandas.
"""
