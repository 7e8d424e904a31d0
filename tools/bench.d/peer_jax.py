# SPDX-License-Identifier: Apache-2.0
"""The article's rules in JAX, compiled, on the CPU: temperature, min-p, top-k, top-p, draw. Written anew from the
rules: ties of the k-th logit and of the last token of top-p stay, the token that crosses top-p goes."""
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp

from peer import Peer

BAND = 1e-9  # min-p never drops what is within this of the best probability


def keep_min_p(x, share):
    p = jax.nn.softmax(x, axis=-1)
    best = p.max(axis=-1, keepdims=True)
    return (p >= share * best) | (p >= best - BAND)


def keep_top_k(x, k):
    return x >= jax.lax.top_k(x, min(k, x.shape[-1]))[0][..., -1:]


def keep_top_p(x, mass):
    p = jax.nn.softmax(x, axis=-1)
    ranked = -jnp.sort(-p, axis=-1)
    inside = (jnp.cumsum(ranked, axis=-1) <= mass).at[..., 0].set(True)
    return p >= jnp.where(inside, ranked, jnp.inf).min(axis=-1, keepdims=True)


def sampler(peer):
    def sample(logits, key):
        scaled = logits / max(peer.temperature, BAND)
        x = scaled
        if 0 < peer.min_p < 1:
            x = jnp.where(keep_min_p(x, peer.min_p), x, -jnp.inf)
        if peer.top_k > 0:
            x = jnp.where(keep_top_k(x, peer.top_k), x, -jnp.inf)
        if peer.top_p < 1:
            x = jnp.where(keep_top_p(x, peer.top_p), x, -jnp.inf)
        none_left = jnp.isneginf(x).all(axis=-1, keepdims=True)
        return jax.random.categorical(key, jnp.where(none_left, scaled, x))
    return jax.jit(sample)


def main():
    peer = Peer()
    logits = jnp.asarray(peer.logits())
    key = jax.random.PRNGKey(0)
    temperature = peer.temperature
    filtered = sampler(peer)
    plain = jax.jit(lambda x, k: jax.random.categorical(k, x / temperature))
    argmax = jax.jit(lambda x: x.argmax(axis=-1))

    peer.serve(f"JAX {jax.__version__}",
               [("filters", "the article's rules in JAX, compiled", lambda: filtered(logits, key).tolist()),
                ("draw", "JAX categorical, compiled", lambda: plain(logits, key).tolist()),
                ("argmax", "JAX argmax, compiled", lambda: argmax(logits).tolist())])


main()
