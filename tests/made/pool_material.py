"""Training and test manifests without audio: what the pool and the budgets read."""

from warmstart.data import cut_lines

TEXT = {"alphabet": "abcdefghijklmnopqrstuvwxyzàèéìòù", "keep": "'", "numbers": "it"}


def cut(cut_id, text="uno due tre", duration_s=2.0, corpus="mls", speaker="s1", block=None):
    """One cut as `prepare_manifest` writes it."""
    supervision = {
        "id": cut_id,
        "recording_id": cut_id,
        "start": 0.0,
        "duration": duration_s,
        "channel": 0,
        "text": text,
        "language": "it",
    }
    if speaker is not None:
        supervision["speaker"] = speaker
    frames = round(duration_s * 16000)
    recording = {
        "id": cut_id,
        "sources": [{"type": "file", "channels": [0], "source": f"audio/{cut_id}.flac"}],
        "sampling_rate": 16000,
        "num_samples": frames,
        "duration": frames / 16000,
        "channel_ids": [0],
    }
    return {
        "id": cut_id,
        "start": 0.0,
        "duration": duration_s,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording,
        "custom": {"block": block or speaker or cut_id, "corpus": corpus},
        "type": "MonoCut",
    }


def write(path, made):
    """Write cuts; returns the path."""
    with cut_lines.writing(path) as stream:
        for item in made:
            stream.write(cut_lines.line(item))
    return path
