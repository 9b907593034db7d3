"""Deployable bundles: networks and tokens in the form that an arm's family declares, which
sherpa-onnx or ONNX Runtime loads as they are.

in    results/runs/.../model.nemo; of heads of a study with a router results/languages/...; for the
      README hypotheses of that run at that tier, test manifests
out   results/bundles/{run}/{precision}/{tier}/

Beyond 2 GB the weights of a network lie in a .data file beside it, which is no output, because a
smaller one has none.
"""

BUNDLE = f"results/bundles/{RUN}/{{precision}}/{{tier}}"


# Forms of bundles differ in their files, and an output cannot depend on a wildcard: one rule a
# form, or a form and training set with a head a language, from one template.
for MAKER in bundles.makers(STUDY):

    rule:
        name:
            MAKER.rule
        input:
            model=lambda wildcards: paths.model(STUDY, run_of(wildcards)),
            example=lambda wildcards: bundles.examples(STUDY, wildcards.training_set),
            identified=lambda wildcards: bundles.identified(
                STUDY, run_of(wildcards), wildcards.tier
            ),
        output:
            files=[f"{BUNDLE}/{name}" for name in MAKER.form.files],
        log:
            f"logs/build_bundle/{RUN}/{{precision}}/{{tier}}.log",
        benchmark:
            f"results/benchmarks/build_bundle/{RUN}/{{precision}}/{{tier}}.tsv"
        wildcard_constraints:
            arm="|".join(MAKER.arms),
            training_set="|".join(map(re.escape, MAKER.training_sets)),
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=more(config["resources"]["decode_mem_mb"]),
        params:
            program=program("build_bundle"),
            version=(VERSIONS["build_bundle"], VERSIONS["quantize"]),
            family=FAMILY,
            tier=lambda wildcards: TIERS[wildcards.tier],
            settings=lambda wildcards: SCHEMES[wildcards.precision],
            # With what is asked of the program beside it, in the place of the folder: an edited
            # command would make every bundle again.
            directory=lambda wildcards, output: [
                str(Path(output.files[0]).parent),
                *slices.bundle_options(STUDY, wildcards.training_set),
                *named_option(
                    "--identified", bundles.identified(STUDY, run_of(wildcards), wildcards.tier)
                ),
            ],
        message:
            f"Bundle {THIS_RUN}: {{wildcards.precision}} at {{wildcards.tier}}"
        shell:
            f"python {{params.program:q}} --run {THIS_RUN} --model {{input.model:q}}"
            " --family {params.family:q} --tier {params.tier}"
            " --precision {wildcards.precision} --settings {params.settings:q}"
            " --example-cuts {input.example:q} --output-dir {params.directory:q} --log {log:q}"


# Apart, because rates change with the normaliser and the statistics, and the networks do not. Rates
# come from the run's own hypotheses and not from the tables, which wait for the whole study and
# pool its seeds.
rule describe_bundle:
    input:
        about=f"{BUNDLE}/bundle.json",
        hypotheses=bundle_hypotheses,
        headers=lambda wildcards: [paths.header(path) for path in bundle_hypotheses(wildcards)],
        tests=lambda wildcards: list(paths.test_manifests(STUDY, wildcards.training_set).values()),
        code=code("describe_bundle"),
    output:
        page=f"{BUNDLE}/README.md",
    log:
        f"logs/describe_bundle/{RUN}/{{precision}}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/describe_bundle/{RUN}/{{precision}}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: decode_arguments(wildcards.training_set),
        settings=lambda wildcards: settings("bundle", slices.bundle(STUDY, wildcards.training_set)),
        origin=lambda wildcards: settings(
            "origin", slices.bundle_origin(STUDY, wildcards.training_set, wildcards.arm)
        ),
        directory=lambda wildcards, output: str(Path(output.page).parent),
    message:
        f"README of the bundle {THIS_RUN}: {{wildcards.precision}} at {{wildcards.tier}}"
    shell:
        "python {params.program:q} --bundle {params.directory:q} --hypotheses {input.hypotheses:q}"
        " --tests {params.tests:q} --settings {params.settings:q} --origin {params.origin:q}"
        " --log {log:q}"
