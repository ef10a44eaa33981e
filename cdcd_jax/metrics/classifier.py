"""A judge of class: trained on real training images, applied to samples."""

import numpy as np


class PixelClassifier:
    """A support vector machine with a Gaussian kernel on raw pixels.

    Args:
        images: float [N, D].
        labels: int [N].
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        from sklearn.svm import SVC

        self._model = SVC(kernel="rbf", C=10.0, gamma="scale").fit(images, labels)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The label of each image [N, D], int [N]."""
        return self._model.predict(images)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of images [N, D] that are assigned to their label [N]."""
        return float(np.mean(self.predict(images) == labels))
