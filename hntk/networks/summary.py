"""Summaries of networks and classifiers of every kind."""

from __future__ import annotations

from collections.abc import Sequence

from hntk._utils.arguments import as_instance
from hntk.networks.saveable import Saveable
from hntk.networks.summary_table import Summary


def summarize(what: Saveable, encodings: Sequence[str] | None = None) -> Summary:
    """Summarize bits, bytes and arithmetic of a network or classifier, layer by layer.

    Parameters
    ----------
    what : Network, Classifier, Regressor, IntegerNetwork, IntegerClassifier or IntegerRegressor
        A network, or a network with a readout.
    encodings : sequence of str, optional
        Encoding of every layer's weights, such as a file has; by default the smallest of each.

    Returns
    -------
    Summary
        Layers, totals and notes; ``print`` it for a table.

    Raises
    ------
    ValueError
        If it is neither a network nor a classifier.

    Examples
    --------
    >>> import jax, hntk
    >>> net = hntk.draw_network(["sign"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> layer = hntk.summarize(net).layers[0]
    >>> layer.encoding, layer.levels, layer.float_bytes
    ('mask+signs', 2, 32000)
    """
    return as_instance(what, "what", Saveable, "a network or a classifier, in floats or in integers").summary(encodings)
