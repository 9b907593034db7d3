"""From releases of corpora to what a run hears: manifests, text, pools, budgets, tokenizers."""
