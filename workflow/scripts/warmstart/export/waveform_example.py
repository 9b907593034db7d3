"""A bundle without sherpa-onnx: its README shows these lines, and they are compared with the native
decode."""

import numpy
import onnxruntime


def open_bundle(folder, threads=1):
    """Network and tokens."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with open(f"{folder}/tokens.txt", encoding="utf-8") as lines:
        tokens = [line.rsplit(maxsplit=1)[0] for line in lines]
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers), tokens


def recognize(bundle, samples, rate):
    """Tokens of one utterance: float32 samples between -1 and 1, at 16000 Hz."""
    session, tokens = bundle
    if rate != 16000:
        raise ValueError(f"{rate} Hz; the network hears 16000 Hz: resample first")
    longest_s = session.get_modelmeta().custom_metadata_map.get("longest_s", "inf")
    if len(samples) > float(longest_s) * rate:
        raise ValueError(f"the network hears {longest_s} s at most; cut the recording at pauses")
    scores = session.run(None, {"x": samples[None]})[0][0]
    best, blank = scores.argmax(-1), len(tokens) - 1
    begins = (best != blank) & (best != numpy.concatenate([[blank], best[:-1]]))
    return [tokens[label] for label in best[begins]]
