"""Pre-train the convolutions of ``glyph-alexnet``, which tell sorts of drawings apart without being a CLIP.

    python -m mmcl_benchmarks.glyphs.pretrain_alexnet --out strategies/mmcl_strategies/routing/glyph_alexnet.safetensors

The network is torchvision's AlexNet up to its last convolution, with a linear layer on top that is thrown away; it
names the ``seen`` symbols in the pre-training fonts. Drawings have 32 pixels, so that what is left of an image is one
place of 256 channels. The weights are stored in half precision.
"""

import argparse
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torchvision.models import alexnet

from mmcl_benchmarks.glyphs.drawing import coverage
from mmcl_benchmarks.glyphs.pretrain_clip import augment, drawings, normalize
from mmcl_benchmarks.glyphs.symbols import PRETRAINING_FONTS, seen_symbols

LAST_CONVOLUTION = 11  # modules of torchvision's ``features``, without the ReLU and the pooling behind it


def pretrain(options: argparse.Namespace) -> None:
    """Train and write the weights."""
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    torch.set_num_threads(options.threads)
    seen = [s for s in seen_symbols() if any(s.character in coverage(font) for font in PRETRAINING_FONTS)]
    images, rows = drawings(seen, PRETRAINING_FONTS)
    labels = torch.tensor([label for label, of_symbol in enumerate(rows) for _ in of_symbol])
    network: nn.Sequential = alexnet(weights=None).features[:LAST_CONVOLUTION]
    head = nn.Linear(256, len(seen))
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, options.steps, pct_start=0.1)
    for step in range(options.steps):
        chosen = torch.randint(len(images), (options.batch,))
        features = network(augment(normalize(images[chosen]))).flatten(1)
        logits = head(functional.relu(features))
        loss = functional.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 499:
            right = float((logits.argmax(1) == labels[chosen]).float().mean())
            print(f"step {step + 1}: loss {loss.item():.3f}, right in the batch {right:.3f}", flush=True)
    weights = {f"features.{name}": value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, Path(options.out))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    pretrain(parser.parse_args())


if __name__ == "__main__":
    main()
