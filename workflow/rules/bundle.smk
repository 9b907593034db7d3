"""Deployable bundles: streaming ONNX encoder, decoder, joiner and tokens that sherpa-onnx loads as
they are.

in    results/runs/.../model.nemo; for the README hypotheses of that run at that tier, test manifests
out   results/bundles/{lang}/{init}/{hours}h/seed{seed}/{precision}/{tier}/

Beyond 2 GB the encoder's weights lie in encoder.onnx.data, which is no output, because a smaller
one has none."""

BUNDLE = f"results/bundles/{grid.RUN}/{{precision}}/{{tier}}"
BUNDLE_FILES = [
    "encoder.onnx",
    "decoder.onnx",
    "joiner.onnx",
    "tokens.txt",
    "example.wav",
    "bundle.json",
]


rule build_bundle:
    input:
        model=f"results/runs/{grid.RUN}/model.nemo",
        example=lambda wildcards: STUDY.test_manifest(
            wildcards.lang, STUDY.test_sets(wildcards.lang)[0]
        ),
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
        recipe=5,
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


# Apart, because rates change with the normaliser and the statistics, and the networks do not. Rates
# come from the run's own hypotheses and not from the tables, which wait for the whole study and
# pool its seeds.
rule describe_bundle:
    input:
        about=f"{BUNDLE}/bundle.json",
        hypotheses=bundle_hypotheses,
        headers=lambda wildcards: [header(path) for path in bundle_hypotheses(wildcards)],
        tests=lambda wildcards: list(TESTS[wildcards.lang].values()),
        code=code("describe_bundle"),
    output:
        page=f"{BUNDLE}/README.md",
    log:
        f"logs/describe_bundle/{grid.RUN}/{{precision}}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/describe_bundle/{grid.RUN}/{{precision}}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: TEST_ARGUMENTS[wildcards.lang],
        settings=lambda wildcards: as_json(STUDY.bundle_settings(wildcards.lang)),
        origin=lambda wildcards: as_json(STUDY.bundle_origin(wildcards.lang, wildcards.init)),
        directory=lambda wildcards, output: str(Path(output.page).parent),
    message:
        "README of the bundle of {wildcards.lang}, {wildcards.init}, {wildcards.hours} h: {wildcards.precision} at {wildcards.tier}"
    shell:
        "python {params.program:q} --bundle {params.directory:q} --hypotheses {input.hypotheses:q} --tests {params.tests:q}"
        " --settings {params.settings:q} --origin {params.origin:q} --log {log:q}"
