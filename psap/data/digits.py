"""scikit-learn's handwritten digits: real data that needs no download."""

import numpy as np

from psap.data.prepared import Arrays, Raw

TEST_IMAGES = 450


def digits() -> Raw:
    """1,797 handwritten digits of 8 x 8 pixels and one channel: 1,347 to train on, 450 to test on.

    scikit-learn's copy of the test set of UCI's "Optical Recognition of Handwritten Digits", grey levels 0..16, here
    scaled to 0..255. It has no official split: this one is stratified, scikit-learn's `train_test_split` with
    `random_state=0`; within a split the images keep their order. The same people may have written images of both.
    """
    import sklearn
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int64)
    parts = train_test_split(np.arange(len(labels)), test_size=TEST_IMAGES, stratify=labels, random_state=0)
    train, test = (np.sort(part) for part in parts)
    return Raw(
        Arrays(images[train], labels[train], images[test], labels[test]),
        classes=[str(digit) for digit in range(10)],
        label=f"digits (scikit-learn {sklearn.__version__}, 1,797 images)",
        origin="sklearn.datasets.load_digits, split 1,347 / 450 (stratified, random_state=0)",
        licence="UCI Machine Learning Repository, data set 80 (Alpaydin and Kaynak, 1998): "
        "https://archive.ics.uci.edu/dataset/80",
    )
