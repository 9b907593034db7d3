"""A bundle of one encoder and a head a language: its README shows these lines, and they are
compared with the native decode."""

import numpy
import onnxruntime


def open_bundle(folder, threads=1):
    """The encoder; and by language its head and tokens."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    encoder = onnxruntime.InferenceSession(f"{folder}/encoder.onnx", options)
    heads = {}
    for lang in encoder.get_modelmeta().custom_metadata_map["heads"].split(","):
        with open(f"{folder}/tokens_{lang}.txt", encoding="utf-8") as lines:
            tokens = [line.rsplit(maxsplit=1)[0] for line in lines]
        heads[lang] = onnxruntime.InferenceSession(f"{folder}/head_{lang}.onnx", options), tokens
    return encoder, heads


def detect(bundle, samples):
    """The language of one utterance; of bundles whose encoder gives `language`."""
    encoder, heads = bundle
    heard_s = encoder.get_modelmeta().custom_metadata_map["heard_s"]
    heard = samples if heard_s == "all" else samples[: round(float(heard_s) * 16000)]
    return list(heads)[encoder.run(["language"], {"x": heard[None]})[0][0].argmax()]


def recognize(bundle, samples, rate, lang):
    """Tokens of one utterance in a language: float32 samples between -1 and 1, at 16000 Hz."""
    encoder, heads = bundle
    if rate != 16000:
        raise ValueError(f"{rate} Hz; the network hears 16000 Hz: resample first")
    longest_s = encoder.get_modelmeta().custom_metadata_map.get("longest_s", "inf")
    if len(samples) > float(longest_s) * rate:
        raise ValueError(f"the network hears {longest_s} s at most; cut the recording at pauses")
    head, tokens = heads[lang]
    states = encoder.run(["states"], {"x": samples[None]})[0]
    best, blank = head.run(None, {"states": states})[0][0].argmax(-1), len(tokens) - 1
    begins = (best != blank) & (best != numpy.concatenate([[blank], best[:-1]]))
    return [tokens[label] for label in best[begins]]
