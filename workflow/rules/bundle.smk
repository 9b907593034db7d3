"""Deployable bundles: streaming ONNX encoder, decoder, joiner and tokens that sherpa-onnx loads as they are.

in    results/runs/.../model.nemo, results/tables/wer.csv
out   results/bundles/{lang}/{init}/{hours}h/seed{seed}/{precision}/{tier}/
"""

BUNDLE = f"results/bundles/{grid.RUN}/{{precision}}/{{tier}}"
BUNDLE_FILES = ["encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "README.md", "example.wav", "bundle.json"]


rule build_bundle:
    input:
        model=f"results/runs/{grid.RUN}/model.nemo",
        example=lambda wildcards: STUDY.test_manifest(wildcards.lang, STUDY.test_sets(wildcards.lang)[0]),
        scores="results/tables/wer.csv",
    output:
        files=[f"{BUNDLE}/{name}" for name in BUNDLE_FILES],
    log:
        f"logs/build_bundle/{grid.RUN}/{{precision}}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/build_bundle/{grid.RUN}/{{precision}}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=program("build_bundle"),
        recipe=3,
        run=run_keys,
        tier=lambda wildcards: TIERS[wildcards.tier],
        settings=lambda wildcards: as_json(STUDY.bundle_settings(wildcards.init, wildcards.precision)),
        directory=lambda wildcards, output: str(Path(output.files[0]).parent),
    message:
        "Bundle {wildcards.lang}, {wildcards.init}, {wildcards.hours} h: {wildcards.precision} at {wildcards.tier}"
    shell:
        "python {params.program:q} --model {input.model:q} --tier {params.tier:q} --precision {wildcards.precision}"
        " --keys {params.run:q} --settings {params.settings:q} --example-cuts {input.example:q} --scores {input.scores:q}"
        " --output-dir {params.directory:q} --log {log:q}"
