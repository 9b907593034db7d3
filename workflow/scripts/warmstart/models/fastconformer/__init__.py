"""NeMo's cache-aware FastConformer."""
