"""The recipe of a training as a type: block `training` of the configuration, its defaults filled
in.

The schema says what each key means, its unit and its default; a test holds the two together.
Standard library only, because a dry run asks it.
"""

from typing import Any, Literal, NotRequired, TypedDict


class Optimizer(TypedDict):
    """`lr` is the peak, or a factor of it (`Schedule.name`); YAML may have read it as text."""

    name: str
    lr: float | str
    encoder_lr_scale: float
    betas: list[float]
    weight_decay: float


class Schedule(TypedDict):
    """How the rate changes."""

    name: Literal["cosine", "noam"]
    warmup_steps: int
    min_lr: float


class Architecture(TypedDict):
    """Of the model, as far as no donor brings it. Contexts are `[left, right]`, in units of
    `tier.UNIT_MS`."""

    contexts: list[list[int]]
    context_probs: list[float]
    pred_hidden: int
    pred_layers: int
    joint_hidden: int
    dropout: float
    encoder_dropout: float | None
    conv_kernel_size: int
    features: NotRequired[int]
    n_layers: NotRequired[int]
    n_heads: NotRequired[int]
    d_model: NotRequired[int]
    subsampling_channels: NotRequired[int]
    window_s: NotRequired[float]
    language_tokens: NotRequired[dict[str, str]]


class Steps(TypedDict, total=False):
    """One number for all budgets, or epochs of the budget between two bounds."""

    fixed: int
    epochs: float
    min: int
    max: int


class SpecAugment(TypedDict):
    """Masks of one batch; widths in mel bins, and as a share of the frames."""

    freq_masks: int
    time_masks: int
    freq_width: int
    time_width: float


class EarlyStop(TypedDict):
    """A run ends after `patience` validations without a better `metric`."""

    metric: Literal["dev_wer", "dev_loss"]
    patience: int


class Recipe(TypedDict):
    """What a training follows from, beside its data, its donor and its seed; and its pace."""

    model: Architecture
    optimizer: Optimizer
    schedule: Schedule
    steps: Steps
    batch_duration_s: float
    bucket_bins_s: list[float] | int
    batch_profile: NotRequired[bool | str]  # a path where a program is told
    devices: int
    num_nodes: int
    precision: Literal["32", "bf16-mixed", "bf16-true"]
    joint_mb: NotRequired[float | None]  # None where it is not said
    gradient_clip: float
    spec_augment: SpecAugment | None
    speed_perturb: list[float]
    noise: NotRequired[dict[str, Any]]  # manifest, snr_db, probability
    tokens: NotRequired[Literal["bpe", "char", "ipa"]]  # bpe where it is not said
    distil: NotRequired[dict[str, Any]]  # teachers, alpha, temperature; where there are teachers
    round: NotRequired[dict[str, Any]]  # number; share of the run's steps; hours of epochs
    early_stop: EarlyStop | None
    average_last: int
    adaptation: dict[str, Any]  # `kind` and its options: `adaptation.Kind.schema`
    num_workers: int
    storage: str
    log_every_steps: int
    stall_minutes: float
    blank_validations: int
    max_unreadable_fraction: float
    checkpoint_every_steps: int
    validate_every_steps: int
