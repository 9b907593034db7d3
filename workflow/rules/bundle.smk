"""Deployable bundles: streaming ONNX encoder, decoder, joiner and tokens that sherpa-onnx loads as they are.

in    results/runs/.../model.nemo; for the README results/tables/wer.csv
out   results/bundles/{lang}/{init}/{hours}h/seed{seed}/{precision}/{tier}/
"""

BUNDLE = f"results/bundles/{grid.RUN}/{{precision}}/{{tier}}"
BUNDLE_FILES = ["encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "example.wav", "bundle.json"]


rule build_bundle:
    input:
        model=f"results/runs/{grid.RUN}/model.nemo",
        example=lambda wildcards: STUDY.test_manifest(wildcards.lang, STUDY.test_sets(wildcards.lang)[0]),
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
        recipe=4,
        run=run_keys,
        tier=lambda wildcards: TIERS[wildcards.tier],
        settings=lambda wildcards: as_json(STUDY.quantization_settings(wildcards.precision)),
        directory=lambda wildcards, output: str(Path(output.files[0]).parent),
    message:
        "Bundle {wildcards.lang}, {wildcards.init}, {wildcards.hours} h: {wildcards.precision} at {wildcards.tier}"
    shell:
        "python {params.program:q} --model {input.model:q} --tier {params.tier:q} --precision {wildcards.precision}"
        " --keys {params.run:q} --settings {params.settings:q} --example-cuts {input.example:q}"
        " --output-dir {params.directory:q} --log {log:q}"


# Apart, because the tables change with every run that a study gets, and the networks do not.
rule describe_bundle:
    input:
        about=f"{BUNDLE}/bundle.json",
        scores="results/tables/wer.csv",
        code=code("describe_bundle.py", "warmstart/bundle.py"),
    output:
        page=f"{BUNDLE}/README.md",
    log:
        f"logs/describe_bundle/{grid.RUN}/{{precision}}/{{tier}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=lambda wildcards, input: input.code[0],
        origin=lambda wildcards: as_json(STUDY.bundle_origin(wildcards.init)),
        directory=lambda wildcards, output: str(Path(output.page).parent),
    message:
        "README of the bundle of {wildcards.lang}, {wildcards.init}, {wildcards.hours} h: {wildcards.precision} at {wildcards.tier}"
    shell:
        "python {params.program:q} --bundle {params.directory:q} --scores {input.scores:q} --origin {params.origin:q}"
        " --log {log:q}"
