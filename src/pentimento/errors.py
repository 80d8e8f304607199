"""Errors that are meant for people: what was expected, what came, what to do."""


class PentimentoError(Exception):
    """A failure that the person can mend. The command line prints its message, no traceback."""


class PictureError(PentimentoError):
    """A picture could not be read or written."""


class MaskError(PentimentoError):
    """A label mask is missing, malformed or does not fit its picture."""


class FaceError(PentimentoError):
    """No usable face, or not the one that was asked for."""


class CheckpointError(PentimentoError):
    """A model folder or run is damaged, incomplete or of another kind."""


class DataError(PentimentoError):
    """A data folder or data specification cannot be used."""


class ConfigError(PentimentoError):
    """A configuration has an unknown or impossible value."""


class TrainingError(PentimentoError):
    """Training cannot go on: it diverged, or its run folder does not fit what was asked."""
