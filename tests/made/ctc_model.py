"""A small random CTC model of the study's kind that says something."""

from pathlib import Path

from made.toy_model import SPEECH, config, train_tokenizer

BLANK_SHARE = 0.5  # of frames, by the bias of the blank


def build(directory: Path, seed: int = 1, **sizes: int) -> Path:
    """Make `directory/model.nemo` and give its path.

    The head is centred on real speech and its blank biased, so that about half of the frames are
    blank and labels repeat over frames: equality of such outputs proves something.
    """
    import torch
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    settings = config(train_tokenizer(directory / "tokenizer"), **sizes)
    for name in ("joint", "loss", "decoding", "model_defaults"):
        del settings[name]
    settings["decoder"] = {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
        "feat_in": settings["encoder"]["d_model"],
        "num_classes": -1,
        "vocabulary": [],
    }
    torch.manual_seed(seed)
    model = EncDecCTCModelBPE(cfg=OmegaConf.create(settings))
    with torch.inference_mode():
        _make_talkative(model.eval())
    path = directory / "model.nemo"
    model.save_to(str(path))
    return path


def _make_talkative(model) -> None:
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
        frames.append(model.encoder(audio_signal=features, length=lengths)[0][0].T)
    frames = torch.cat(frames)
    head = model.decoder.decoder_layers[0]
    weight = head.weight[:, :, 0]
    weight.div_(frames.std(0) + 1e-3)
    logits = frames @ weight.T
    head.bias.copy_(-logits.mean(0))
    centred = logits - logits.mean(0)
    margin = centred[:, :-1].max(1).values - centred[:, -1]
    head.bias[-1] += margin.quantile(BLANK_SHARE)
