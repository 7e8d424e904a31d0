# SPDX-License-Identifier: Apache-2.0
"""PyTorch, and the logits warpers of Hugging Face Transformers, on the CPU."""
import torch

from peer import Peer


def warpers(peer):
    """In the article's order; None without Transformers."""
    try:
        from transformers.generation import logits_process as lp
    except ImportError:
        return None
    chosen = [lp.TemperatureLogitsWarper(peer.temperature)]
    if peer.min_p > 0:
        chosen.append(lp.MinPLogitsWarper(peer.min_p))
    if peer.top_k > 0:
        chosen.append(lp.TopKLogitsWarper(peer.top_k))
    if peer.top_p < 1:
        chosen.append(lp.TopPLogitsWarper(peer.top_p))
    return chosen


def main():
    peer = Peer()
    logits = torch.from_numpy(peer.logits())
    ids = torch.zeros((peer.rows, 1), dtype=torch.long)
    chain = warpers(peer)
    version = f"PyTorch {torch.__version__} ({torch.get_num_threads()} threads)"

    def draw():
        return torch.multinomial(torch.softmax(logits / peer.temperature, -1), 1).tolist()

    def filtered():
        scores = logits
        for warper in chain:
            scores = warper(ids, scores)
        return torch.multinomial(torch.softmax(scores, -1), 1).tolist()

    cases = [("draw", "PyTorch softmax + multinomial", draw),
             ("argmax", "PyTorch argmax", lambda: logits.argmax(-1).tolist()),
             ("argmax", "PyTorch amax (the value alone)", lambda: logits.amax(-1).tolist())]
    if chain:
        import transformers
        version += f", Transformers {transformers.__version__}"
        cases.append(("filters", "HF Transformers warpers + multinomial", filtered))
    with torch.inference_mode():
        peer.serve(version, cases)


main()
