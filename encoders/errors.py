"""Every error that Plumbline raises on purpose: one root, and the builtin that fits."""

from __future__ import annotations


class PlumblineError(Exception):
    """The root of all errors raised on purpose; its text is one line that says what to do next."""


class ModelError(PlumblineError, ValueError):
    """The model file is broken, or declares something that cannot be given a meaning."""


class UnsupportedOperatorError(ModelError, NotImplementedError):
    """The model file is valid, but holds a node that the encoder has no exact form for."""


class DataError(PlumblineError, ValueError):
    """The inputs, labels or masks do not fit the model, the box or each other."""


class OptionError(PlumblineError, ValueError):
    """An option is out of its range, or two options exclude each other."""


class ProofError(PlumblineError, ValueError):
    """A proof file cannot be told in another form: it is not right, or a line of it has none."""


class SolverError(PlumblineError, RuntimeError):
    """A solver is missing, crashed, or answered outside its contract."""


class ClusterError(PlumblineError, RuntimeError):
    """A cluster cannot be reached, or its workers are not what they must be."""


class TrainingError(PlumblineError, RuntimeError):
    """A training went wrong: a loss that is no number, a file that cannot be fetched."""


class SoundnessError(PlumblineError, RuntimeError):
    """Two proven facts contradict each other: a soundness alarm, never to be swallowed."""
