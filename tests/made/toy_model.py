"""A small random transducer of the study's kind, for tests that need a real model but not a good
one.

`build(directory)` makes a tokenizer and a `.nemo` in 2 s; `toy_model_path` is a session fixture,
imported by name. A random transducer emits blanks only or loops for ever; here the joint is centred
on real speech and its blank biased so that about every fourth pair of frame and history emits
something: equality of such outputs proves something.
"""

from pathlib import Path

import pytest

LEFT_FRAMES = 70
CONTEXTS = [[LEFT_FRAMES, 13], [LEFT_FRAMES, 6], [LEFT_FRAMES, 1], [LEFT_FRAMES, 0]]
SPEECH = Path(__file__).parents[2] / "demo" / "speech"
SAMPLE_RATE = 16000
EMITTING_SHARE = 0.25  # of (frame, history) pairs, by the bias of the blank

_SENTENCES = [
    "prego digitare il proprio numero seguito dal tasto cancelletto",
    "la conferenza è al completo",
    "il numero che avete composto non è corretto si prega di controllare e richiamare",
    "entrez le numéro de poste suivi de la touche dièse",
    "votre appel est important pour nous veuillez patienter",
    "un deux trois quatre cinq six sept huit neuf dix zéro",
    "uno due tre quattro cinque sei sette otto nove dieci zero",
]


def train_tokenizer(directory: Path, vocab_size: int = 64) -> Path:
    """Train a SentencePiece BPE tokenizer as NeMo wants it: `tokenizer.model` and `vocab.txt` in a
    folder."""
    import sentencepiece

    directory.mkdir(parents=True, exist_ok=True)
    corpus = directory / "text.txt"
    corpus.write_text("\n".join(_SENTENCES * 4) + "\n", encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(directory / "tokenizer"),
        vocab_size=vocab_size,
        model_type="bpe",
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    pieces = [processor.id_to_piece(index) for index in range(1, processor.vocab_size())]
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return directory


def config(
    tokenizer: Path, d_model: int = 64, n_layers: int = 2, features: int = 80, hidden: int = 64
) -> dict:
    """Configuration of an `EncDecRNNTBPEModel` with the full study's kind of encoder."""
    return {
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "train_ds": None,
        "validation_ds": None,
        "model_defaults": {"enc_hidden": d_model, "pred_hidden": hidden, "joint_hidden": hidden},
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": SAMPLE_RATE,
            "normalize": "NA",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": features,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 1e-5,
            "pad_to": 0,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": features,
            "feat_out": -1,
            "n_layers": n_layers,
            "d_model": d_model,
            "use_bias": False,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": min(d_model, 256),
            "causal_downsampling": True,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": CONTEXTS,
            "att_context_style": "chunked_limited",
            "att_context_probs": [0.25, 0.25, 0.25, 0.25],
            "xscaling": False,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "layer_norm",
            "conv_context_size": "causal",
            "dropout": 0.1,
            "dropout_pre_encoder": 0.1,
            "dropout_emb": 0.0,
            "dropout_att": 0.1,
        },
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": hidden, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "jointnet": {"joint_hidden": hidden, "activation": "relu", "dropout": 0.0},
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}},
        "loss": {
            "loss_name": "warprnnt_numba",
            "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0, "clamp": -1.0},
        },
        "optim": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.0},
    }


def build(
    directory: Path,
    seed: int = 1,
    prompts: dict[str, int] | None = None,
    hybrid: bool = False,
    **sizes,
) -> Path:
    """Make `directory/model.nemo` and give its path.

    Args:
        prompts: language -> index: a model with language prompts, and the public one's left context
            of 56.
        hybrid: a CTC head beside the transducer.
    """
    import nemo.collections.asr as nemo_asr
    import torch
    from omegaconf import OmegaConf

    settings = config(train_tokenizer(directory / "tokenizer"), **sizes)
    kind = nemo_asr.models.EncDecRNNTBPEModel
    hidden = {"enc_hidden": settings["encoder"]["d_model"], "pred_hidden": 64, "joint_hidden": 64}
    if prompts:
        from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt as kind

        settings["model_defaults"] = {
            **hidden,
            "num_prompts": 4,
            "prompt_dictionary": prompts,
            "initialize_prompt_feature": True,
        }
        settings["encoder"]["att_context_size"] = [[56, right] for _, right in CONTEXTS]
    if hybrid:
        from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel as kind

        settings["model_defaults"] = hidden
        head = {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": None,
            "num_classes": -1,
            "vocabulary": [],
        }
        settings["aux_ctc"] = {
            "ctc_loss_weight": 0.3,
            "decoder": head,
            "decoding": {"strategy": "greedy"},
        }
    torch.manual_seed(seed)
    model = kind(cfg=OmegaConf.create(settings))
    with torch.inference_mode():
        if prompts:
            model.prompt_kernel[0].weight[:, -4:].normal_(
                0, 2
            )  # of the four prompts: they must make a difference
            model.set_inference_prompt(next(iter(prompts)))
        _make_talkative(model.eval())
    path = directory / "model.nemo"
    model.save_to(str(path))
    return path


def _make_talkative(model) -> None:
    """Scale and centre the joint on real speech, so that frames and histories differ in what they
    emit."""
    import soundfile
    import torch

    for layer in model.encoder.layers:
        layer.self_attn.pos_bias_u.normal_(0, 0.5)
        layer.self_attn.pos_bias_v.normal_(0, 0.5)
    frames = []
    for path in sorted(SPEECH.glob("it/*.flac"))[:4]:
        samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
        features, lengths = model.preprocessor(
            input_signal=samples, length=torch.tensor([samples.shape[1]])
        )
        encoded = model.encoder(audio_signal=features, length=lengths)[0]
        frames.append(model._apply_prompt_to_encoded(encoded)[0].T)
    frames = torch.cat(frames)
    joint = model.joint
    joint.enc.weight.div_(frames.std(0) + 1e-3)
    joint.enc.bias.copy_(-joint.enc.weight @ frames.mean(0))
    histories = torch.randint(0, joint.num_classes_with_blank - 1, (256, 3))
    history = model.decoder.predict(histories, None, add_sos=True)[0][:, -1]
    joint.pred.weight.div_(history.std(0) + 1e-3).mul_(0.7)
    joint.pred.bias.copy_(-joint.pred.weight @ history.mean(0))
    joint.joint_net[-1].weight.mul_(4.0)
    pairs = joint.joint_after_projection(
        joint.project_encoder(frames)[:256, None, :],
        joint.project_prednet(history)[: len(frames), None],
    )
    logits = pairs.reshape(-1, pairs.shape[-1])
    joint.joint_net[-1].bias.sub_(logits.mean(0))
    logits = logits - logits.mean(0)
    margin = logits[:, :-1].max(1).values - logits[:, -1]
    joint.joint_net[-1].bias[-1] += margin.quantile(1 - EMITTING_SHARE)


@pytest.fixture(scope="session")
def toy_model_path(tmp_path_factory) -> Path:
    """A `.nemo` with 2 layers of 64 dimensions, made once a session."""
    return build(tmp_path_factory.mktemp("toy"))
