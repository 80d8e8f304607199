"""Agreement of label maps, accumulated over many pictures in one confusion matrix."""

import numpy as np
from numpy.typing import NDArray

from pentimento.labels import IGNORE, LabelSet


class Confusion:
    """Counts of (true class, predicted class) pairs.

    Scores pool the pixels of all pictures, as segmentation benchmarks do: they are not means of
    per-picture scores. Pixels whose truth is `IGNORE` do not count; a predicted `IGNORE` where the
    truth is known counts as wrong.
    """

    def __init__(self, labels: LabelSet):
        self.labels = labels
        # The last column holds predictions of no class.
        self.counts = np.zeros((len(labels), len(labels) + 1), np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count the pixels of one or more label maps of equal shape.

        Raises:
            ValueError: the shapes differ, or a value is neither a class nor `IGNORE`.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} do not fit")
        n = len(self.labels)
        known = truth != IGNORE
        rows = truth[known].astype(np.int64)
        columns = np.where(predicted[known] == IGNORE, n, predicted[known]).astype(np.int64)
        if rows.size and (rows.max() >= n or columns.max() > n):
            raise ValueError(f"a value is no class of {self.labels.name} (0..{n - 1})")
        self.counts += np.bincount(rows * (n + 1) + columns, minlength=n * (n + 1)).reshape(n, -1)

    def iou(self) -> dict[str, float]:
        """Return intersection over union of every class that occurs in the truth."""
        hits = np.diag(self.counts)
        union = self.counts.sum(1) + self.counts[:, :-1].sum(0) - hits
        return {
            name: float(hits[i] / union[i])
            for i, name in enumerate(self.labels.classes)
            if self.counts[i].any()
        }

    def mean_iou(self) -> float:
        """Return the mean of `iou()`; 0 when nothing was counted."""
        values = list(self.iou().values())
        return float(np.mean(values)) if values else 0.0

    def pixel_accuracy(self) -> float:
        """Return the share of known pixels that are right; 0 when nothing was counted."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else 0.0

    def class_accuracy(self) -> float:
        """Return the share of right pixels of each class that occurs, averaged over classes."""
        totals = self.counts.sum(1)
        occurs = totals > 0
        shares = np.diag(self.counts)[occurs] / totals[occurs]
        return float(shares.mean()) if shares.size else 0.0
