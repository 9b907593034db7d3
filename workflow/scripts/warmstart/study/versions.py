"""The version of each stage whose results are dear, in one place.

A stage runs again when its settings or inputs change, but not when its code does: a comment must
not train for a month. Whoever changes what a stage makes from the same settings and inputs raises
its number here. Its rule passes the number to Snakemake, which makes exactly that stage and what
follows stale; and to the program, where that goes on with what an earlier process began (training,
decoding), because nothing of another version may be continued or believed.
"""

VERSIONS = {
    "download_corpus": 1,
    "prepare_manifest": 4,
    "prepare_noise": 1,
    "build_pool": 2,
    "subset_budget": 1,
    "corrupt_labels": 1,
    "mix_training_set": 1,
    "pack_pool": 1,
    "train_tokenizer": 1,
    "download_init": 1,
    "pretrain_init": 1,
    "profile_batches": 1,
    "train": 1,
    "label_pool": 1,
    "join_rounds": 1,
    "decode": 4,
    "cross_decode": 1,
    "probe_init": 1,
    "identify_language": 2,
    "quantize": 2,
    "build_bundle": 5,
}
