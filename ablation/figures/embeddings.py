"""The paper's Fig. 2: where training and test utterances lie before and after training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablation.figures.canvas import COLUMN_INCHES, NORMAL, class_looks, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TSNE_SEED = 0  # O: fixed, so that equal embeddings give equal pictures
PERPLEXITY = 30.0  # O: scikit-learn's default, van der Maaten and Hinton's range is 5 to 50
LEAST_POINTS = 4


def project(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Lay embeddings out in the plane by t-SNE: (n, d) to (n, 2), the same each time.

    Source: P Fig. 2 names t-SNE alone; starting from the principal components is scikit-learn's.
    Raises:
        ValueError: too few of them, or one that is not finite.
    """
    from sklearn.manifold import TSNE

    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2 or len(points) < LEAST_POINTS or not np.isfinite(points).all():
        rule = f"t-SNE needs {LEAST_POINTS} finite embeddings (n, d) at least"
        raise ValueError(f"{rule}, got shape {points.shape}")
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    components = "pca" if points.shape[1] > 1 else "random"
    tsne = TSNE(perplexity=perplexity, init=components, random_state=TSNE_SEED)
    return np.asarray(tsne.fit_transform(points), dtype=np.float64)


def embeddings_figure(
    panels: Mapping[str, tuple[ArrayLike, Sequence[int]]], classes: Sequence[str], title: str
) -> "Figure":
    """Draw up to four clouds of points, two beside one another, classes by colour and marker.

    Args:
        panels: By title, in the order of P Fig. 2: training before, test before, training after,
            test after. Each is (n, 2) places in the plane and n class numbers.
        classes: Their names; colours are the paper's where it gives them.
        title: Above all; "" for none.
    Raises:
        ValueError: places and classes of a panel do not pair up.
    """
    looks = class_looks(classes)
    lines = -(-len(panels) // 2)
    with drawing(0.45 + lines * COLUMN_INCHES / 2 + 0.16 * -(-len(classes) // 4)) as figure:
        all_axes = figure.subplots(lines, 2, squeeze=False).ravel()
        for axes in all_axes[len(panels) :]:
            axes.set_visible(False)
        for axes, (name, (places, labels)) in zip(all_axes, panels.items(), strict=False):
            xy, numbers = np.asarray(places), np.asarray(labels)
            if xy.shape != (len(numbers), 2):
                rule = f"{name}: every class number needs its place in the plane"
                raise ValueError(f"{rule}, got {len(numbers)} and shape {xy.shape}")
            size = float(np.clip(900 / len(xy), 2.5, 14))
            for index, (colour, marker) in enumerate(looks):
                mine = xy[numbers == index]
                axes.scatter(
                    mine[:, 0], mine[:, 1], s=size, color=colour, marker=marker, linewidths=0
                )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            axes.set_title(name)
        handles = [
            all_axes[0].scatter([], [], s=16, color=colour, marker=marker, linewidths=0)
            for colour, marker in looks
        ]
        figure.legend(
            handles,
            classes,
            loc="outside lower center",
            ncols=4,
            handletextpad=0.1,
            columnspacing=1,
        )
        figure.suptitle(title, fontsize=NORMAL, wrap=True)
    return figure
