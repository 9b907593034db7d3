"""What sherpa-onnx 2.0.1 computes around the networks of a bundle, rebuilt: features, windows,
search.

Sources: k2-fsa/sherpa-onnx csrc/features.cc, csrc/online-recognizer-transducer-nemo-impl.h,
csrc/online-transducer-greedy-search-nemo-decoder.cc; csukuangfj/kaldi-native-fbank
csrc/feature-window.cc and csrc/mel-computations.cc.
"""

import numpy

HOP, WINDOW, FFT = 160, 400, 512


def features(samples: numpy.ndarray, mel: numpy.ndarray) -> numpy.ndarray:
    """Log-mel frames (T, F) of a waveform (samples,).

    Args:
        mel: (F, FFT / 2 + 1) filters: librosa's with Slaney's norm, up to 8000 Hz, as NeMo's
            featurizer holds them.
    """
    count = (len(samples) + HOP // 2) // HOP
    # Frames are centred half a hop late, and the signal is reflected at both ends.
    index = numpy.arange(count)[:, None] * HOP + HOP // 2 - WINDOW // 2 + numpy.arange(WINDOW)
    index = numpy.where(index < 0, -index - 1, index)
    index = numpy.where(index >= len(samples), 2 * len(samples) - 1 - index, index)
    frames = samples[index].astype(numpy.float32)
    frames = frames - 0.97 * numpy.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames *= 0.5 - 0.5 * numpy.cos(2 * numpy.pi / WINDOW * numpy.arange(WINDOW))
    power = numpy.abs(numpy.fft.rfft(frames, FFT)) ** 2
    return numpy.log(numpy.maximum(power @ mel.T, numpy.finfo(numpy.float32).eps)).astype(
        numpy.float32
    )


def windows(encode, frames: numpy.ndarray, window: int, shift: int):
    """Encoder frames (T, D) of each window of feature frames, as sherpa-onnx takes them."""
    import torch

    start = 0
    # A window is taken while more frames than it has are there.
    while start + window < len(frames):
        yield encode(torch.from_numpy(frames[start : start + window])[None])
        start += shift


def ctc_tokens(encode, head, frames: numpy.ndarray, window: int, shift: int) -> list[int]:
    """Tokens of windows of feature frames with a CTC head: the best label of each frame, repeated
    ones once, also over windows, blanks none."""
    import torch

    with torch.inference_mode():
        labels = [
            label
            for encoded in windows(encode, frames, window, shift)
            for label in head(encoder_output=encoded.T[None])[0].argmax(-1).tolist()
        ]
    blank = head.num_classes_with_blank - 1
    before = [blank, *labels]
    return [label for place, label in enumerate(labels) if label not in (before[place], blank)]


def tokens(encode, model, frames: numpy.ndarray, window: int, shift: int) -> list[int]:
    """Tokens of windows of feature frames.

    Args:
        encode: (1, window, F) frames -> (T, D) encoder frames, keeping its caches to itself.
        model: its predictor and joint are searched as sherpa-onnx does: ten tokens a frame at most.
    """
    import torch

    blank = model.joint.num_classes_with_blank - 1
    found: list[int] = []
    states = None
    with torch.inference_mode():
        output, states = model.decoder.predict(
            torch.tensor([[blank]]), None, add_sos=False, batch_size=1
        )
        for encoded in windows(encode, frames, window, shift):
            for frame in encoded:
                for _ in range(10):
                    token = int(model.joint.joint(frame[None, None], output)[0, 0, 0].argmax())
                    if token == blank:
                        break
                    found.append(token)
                    output, states = model.decoder.predict(
                        torch.tensor([[token]]), states, add_sos=False, batch_size=1
                    )
    return found


def windows_in_pytorch(model, tier):
    """Encoder frames of the windows that sherpa-onnx cuts, by NeMo's own native steps: the bundle's
    graph, rebuilt."""
    import torch

    from warmstart.models.fastconformer import chunks

    chunks.set_tier(model.encoder, tier)
    caches, heard = list(model.encoder.get_initial_cache_state(batch_size=1)), 0

    def encode(window):
        nonlocal caches, heard
        # 16 frames more than the first native chunk has, and 9 of those before in front of every
        # later one; behind a first chunk of one frame there is but one before.
        features = torch.where(window > -15.942, torch.log(torch.exp(window) + 2**-24), window)
        features = features[:, max(0, 16 - 8 * heard) :]
        with torch.inference_mode():
            encoded, _, *caches = model.encoder.cache_aware_stream_step(
                features.transpose(1, 2),
                torch.tensor([features.shape[1]]),
                *caches,
                keep_all_outputs=True,
                drop_extra_pre_encoded=min(heard, 2),
            )
        heard += tier.right + 1
        return encoded[0].T

    return encode
