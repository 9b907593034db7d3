"""Weight-only quantised encoders for ONNX Runtime, one a tier: masks and cache sizes are part of
the graph.

in    results/runs/.../model.nemo
out   results/runs/.../{precision}/{tier}/{encoder.onnx,quantize.json}

Beyond 2 GB the weights lie in encoder.onnx.data. It is no output, because a smaller encoder has
none; the program removes what a former one left, and the encoder names its digest."""


rule quantize:
    input:
        model=f"results/runs/{grid.RUN}/model.nemo",
    output:
        encoder=f"results/runs/{grid.RUN}/{{precision}}/{{tier}}/encoder.onnx",
        report=f"results/runs/{grid.RUN}/{{precision}}/{{tier}}/quantize.json",
    log:
        f"logs/quantize/{grid.RUN}/{{precision}}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/quantize/{grid.RUN}/{{precision}}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=program("quantize"),
        recipe=2,
        tier=lambda wildcards: TIERS[wildcards.tier],
        settings=lambda wildcards: as_json(STUDY.quantization_settings(wildcards.precision)),
    message:
        "Quantise {wildcards.lang}, {wildcards.init}, {wildcards.hours} h: {wildcards.precision} at {wildcards.tier}"
    shell:
        "python {params.program:q} --model {input.model:q} --tier {params.tier:q} --precision {wildcards.precision}"
        " --settings {params.settings:q} --output {output.encoder:q} --report {output.report:q} --log {log:q}"
