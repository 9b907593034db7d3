"""The ideas of the study, one module per noun; nothing in here knows of Snakemake.

Modules imported while the DAG is built (`errors`, `study`, `tier`, `resources`, `text`) use the standard library and PyYAML only, so that a dry
run needs no GPU stack. Everything else may import torch, NeMo, Lhotse and pandas, at the top of the module that needs it.
"""
