"""Generators of random numbers that depend on nothing but the integers given."""

import torch

_MASK = (1 << 64) - 1


def generator(*numbers: int) -> torch.Generator:
    """A CPU generator seeded by all of `numbers` (a seed and an epoch, say): near tuples give unrelated streams.

    On the CPU even where the data are not, so that every device sees the same draws.
    """
    return torch.Generator().manual_seed(derive_seed(*numbers))


def derive_seed(*numbers: int) -> int:
    """A seed of 64 bits made of all of `numbers`, each of which changes all of its bits.

    Mixes with SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014); torch's CPU engine keeps the low 32 bits of
    a seed, so adding seed and epoch, or shifting one of them, would not do.
    """
    state = 0
    for number in numbers:
        state = _finalise((state + number + 0x9E3779B97F4A7C15) & _MASK)
    return state


def _finalise(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
