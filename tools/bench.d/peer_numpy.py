# SPDX-License-Identifier: Apache-2.0
"""NumPy as it is often written by hand: partition for the top k, then the other filters on those alone."""
import numpy as np

from peer import Peer


def filtered(peer, logits, random):
    if peer.top_k > 0:
        ids = np.argpartition(logits, -peer.top_k, axis=-1)[:, -peer.top_k:]
        x = np.take_along_axis(logits, ids, -1)
    else:
        ids = np.broadcast_to(np.arange(peer.vocab), logits.shape)
        x = logits
    order = np.argsort(-x, axis=-1)
    x = np.take_along_axis(x, order, -1) / peer.temperature
    p = np.exp(x - x[:, :1])
    p[p < peer.min_p] = 0
    p /= p.sum(-1, keepdims=True)
    before = np.cumsum(p, -1) - p
    p[before >= peer.top_p] = 0
    total = np.cumsum(p, -1)
    at = (total < random.random((peer.rows, 1)) * total[:, -1:]).sum(-1, keepdims=True)
    return np.take_along_axis(np.take_along_axis(ids, order, -1), at, -1).tolist()


def main():
    peer = Peer()
    logits = peer.logits()
    random = np.random.default_rng(0)

    peer.serve(f"NumPy {np.__version__}",
               [("filters", "NumPy, top-k by partition first", lambda: filtered(peer, logits, random)),
                ("argmax", "NumPy argmax", lambda: logits.argmax(-1).tolist())])


main()
