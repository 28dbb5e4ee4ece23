"""The int8 digits net in the repository is still good at digits."""

from __future__ import annotations

import numpy as np
import onnxruntime

from trainers.datasets import digits
from trainers.digits_nets import DIRECTORY
from trainers.quantised_nets import NAME


def test_the_kept_net_classifies_nine_in_ten_test_digits() -> None:
    session = onnxruntime.InferenceSession(DIRECTORY / f"{NAME}.onnx", providers=["CPUExecutionProvider"])
    data = digits("test")
    scores = np.asarray(session.run(None, {"input": data.x.reshape(-1, 64)})[0])
    assert (scores.argmax(1) == data.y).mean() >= 0.9
