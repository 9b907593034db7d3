"""Weight-only quantised encoders for ONNX Runtime, one a tier: masks and cache sizes are part of
the graph.

in    results/runs/.../model.nemo
out   results/runs/.../{precision}/{tier}/{encoder.onnx,quantize.json}

Beyond 2 GB the weights lie in encoder.onnx.data. It is no output, because a smaller encoder has
none; the program removes what a former one left, and the encoder names its digest.
"""

SCHEMES = {
    precision: settings("quantize", slices.quantization(STUDY, precision))
    for precision in config["precisions"]
}


rule quantize:
    input:
        model=lambda wildcards: paths.model(STUDY, run_of(wildcards)),
    output:
        encoder=paths.encoder(RUN, "{precision}", "{tier}"),
        report=f"results/runs/{RUN}/{{precision}}/{{tier}}/quantize.json",
    log:
        f"logs/quantize/{RUN}/{{precision}}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/quantize/{RUN}/{{precision}}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=program("quantize"),
        version=VERSIONS["quantize"],
        family=FAMILY,
        tier=lambda wildcards: TIERS[wildcards.tier],
        settings=lambda wildcards: SCHEMES[wildcards.precision],
    message:
        f"Quantise {THIS_RUN}: {{wildcards.precision}} at {{wildcards.tier}}"
    shell:
        f"python {{params.program:q}} --run {THIS_RUN} --model {{input.model:q}}"
        " --family {params.family:q} --tier {params.tier}"
        " --precision {wildcards.precision} --settings {params.settings:q}"
        " --output {output.encoder:q} --report {output.report:q} --log {log:q}"
