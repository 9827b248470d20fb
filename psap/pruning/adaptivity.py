"""Whether ratios adapt: how far they differ between groups, and whether they follow the groups' sensitivity.

Without torch: what reads finished runs asks it too.
"""

from collections.abc import Sequence

import numpy as np


def spread(ratios: Sequence[float]) -> float:
    """Coefficient of variation of the groups' ratios.

    Args:
        ratios: Of each group, the share of its channels that is pruned.

    Returns:
        Standard deviation over mean, without a unit; 0 where nothing is pruned.
    """
    values = np.asarray(ratios, dtype=np.float64)
    return float(values.std() / values.mean()) if values.any() else 0.0


def rank_correlation(ratios: Sequence[float], sensitivities: Sequence[float]) -> float | None:
    """Spearman's correlation over groups of their ratios and sensitivities.

    Args:
        ratios: Of each group, the share of its channels that is pruned.
        sensitivities: Of each group, such as `psap.pruning.mechanism.sensitivity` measures.

    Returns:
        In [-1, 1], negative where ratios adapt; None where either is the same for all groups.
    """
    if len(set(ratios)) < 2 or len(set(sensitivities)) < 2:
        return None
    from scipy.stats import spearmanr  # no training needs it, and its import takes a second

    return float(spearmanr(ratios, sensitivities).statistic)
