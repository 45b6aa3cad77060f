"""Pre-train ``glyph-clip``, the CLIP that ships with MMCL, and write it as an open_clip folder.

    python -m mmcl_benchmarks.glyphs.pretrain_clip --out mmcl/backbones/glyph_clip

The model is ``open_clip.model.CLIP`` as it is, trained with CLIP's symmetric InfoNCE. It sees the ``seen`` symbols in
the pre-training fonts only; a batch shows every chosen symbol once, so no two of its captions mean the same class.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import get_tokenizer
from open_clip.model import CLIP
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from mmcl_benchmarks.glyphs.drawing import CANVAS, coverage, draw
from mmcl_benchmarks.glyphs.symbols import (
    FONTS,
    HELD_OUT_FONTS,
    PRETRAINING_FONTS,
    Symbol,
    held_out_symbols,
    seen_symbols,
)

CONTEXT_LENGTH = 20
VOCABULARY = 2000
MEAN, STD = 0.8, 0.35  # of a glyph image, rounded
# Most captions are the bare name, as the zero-shot prompts are; the others make the text tower robust to a frame.
TEMPLATES = ("{}", "{}", "{}", "{}", "a {}", "the symbol {}", "the sign {}", "a drawing of {}")


def model_config(width: int, layers: int, embed_dim: int) -> dict[str, Any]:
    """open_clip's own configuration: 16 image patches of 8 x 8 pixels, text pooled at the end token."""
    return {
        "embed_dim": embed_dim,
        "vision_cfg": {
            "image_size": CANVAS,
            "patch_size": 8,
            "width": width,
            "layers": layers,
            "head_width": 32,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": VOCABULARY,
            "hf_tokenizer_name": "glyph-clip",
            "width": 128,
            "heads": 4,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": 2,
            "pad_id": 0,
        },
    }


def train_tokenizer(names: Sequence[str]) -> PreTrainedTokenizerFast:
    """Byte-pair pieces of the pre-training names; digits stay single, so numbers are read digit by digit."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("removed"), pre_tokenizers.Digits(True)]
    )
    alphabet = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    tokenizer.train_from_iterator(
        [name for name in names for _ in range(2)],
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=["<pad>", "<start>", "<end>", "<unk>"],
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    tokenizer.post_processor = processors.TemplateProcessing(
        "<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        model_max_length=CONTEXT_LENGTH,
    )


def drawings(symbols: Sequence[Symbol], fonts: Sequence[str]) -> tuple[Tensor, list[list[int]]]:
    """All images as ``uint8[N, 32, 32]`` and, for each symbol, the rows that show it."""
    images: list[np.ndarray[Any, Any]] = []
    rows: list[list[int]] = []
    for symbol in symbols:
        faces = [font for font in fonts if symbol.character in coverage(font)]
        rows.append(list(range(len(images), len(images) + len(faces))))
        images.extend(np.asarray(draw(symbol.character, font)) for font in faces)
    return torch.from_numpy(np.stack(images)), rows


def normalize(images: Tensor) -> Tensor:
    """``uint8[B, 32, 32]`` -> ``float[B, 3, 32, 32]`` as the model's preprocessing does."""
    return ((images.float() / 255 - MEAN) / STD).unsqueeze(1).expand(-1, 3, -1, -1)


def augment(images: Tensor) -> Tensor:
    """Random rotation (8 degrees), scale (0.85-1.15), shear and shift (2.5 pixels) of normalised images."""
    count = images.shape[0]

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * limit

    angle, scale = uniform(0.14), 1 + uniform(0.15)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    matrix = torch.stack(
        [
            torch.stack([cos, -sin + uniform(0.1), uniform(0.16)], 1),
            torch.stack([sin, cos, uniform(0.16)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(matrix, [count, 3, CANVAS, CANVAS], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def zero_shot(model: CLIP, tokens: Tensor, symbols: Sequence[Symbol], fonts: Sequence[str]) -> float:
    """Share of drawings of ``symbols`` in ``fonts`` whose nearest caption among theirs is the right one."""
    model.eval()
    images, rows = drawings(symbols, fonts)
    labels = torch.tensor([label for label, of_symbol in enumerate(rows) for _ in of_symbol])
    texts = torch.cat([model.encode_text(chunk, normalize=True) for chunk in tokens.split(512)])
    hits = 0
    for chunk, target in zip(images.split(512), labels.split(512), strict=True):
        features = model.encode_image(normalize(chunk).contiguous(), normalize=True)
        hits += int(((features @ texts.T).argmax(1) == target).sum())
    return hits / len(labels)


def pretrain(options: argparse.Namespace) -> None:
    """Train and write the model folder, its weights every ``evaluate_every`` steps."""
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    torch.set_num_threads(options.threads)
    seen, unseen = seen_symbols(), held_out_symbols()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    train_tokenizer([symbol.name for symbol in seen]).save_pretrained(out)
    config = model_config(options.width, options.layers, options.embed_dim)
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}
    (out / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n"
    )
    tokenize = get_tokenizer(f"local-dir:{out}")

    seen = [s for s in seen if any(s.character in coverage(font) for font in PRETRAINING_FONTS)]
    images, rows = drawings(seen, PRETRAINING_FONTS)
    captions = {t: tokenize([t.format(s.name) for s in seen]) for t in set(TEMPLATES)}
    unseen_tokens = tokenize([s.name for s in unseen])

    model = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=options.lr,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, options.steps, pct_start=0.1)
    began = time.time()
    order: list[int] = []
    for step in range(options.steps):
        model.train()
        if len(order) < options.batch:
            order = torch.randperm(len(seen)).tolist()
        chosen = torch.tensor([order.pop() for _ in range(options.batch)])
        pixels = augment(normalize(images[torch.tensor([random.choice(rows[i]) for i in chosen.tolist()])]))
        text = captions[random.choice(TEMPLATES)][chosen]
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            image_features = model.encode_image(pixels, normalize=True)
            text_features = model.encode_text(text, normalize=True)
            logits = (model.logit_scale.exp() * image_features @ text_features.T).float()
        diagonal = torch.arange(len(chosen))
        loss = (functional.cross_entropy(logits, diagonal) + functional.cross_entropy(logits.T, diagonal)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(100)))
        if (step + 1) % options.evaluate_every == 0 or step + 1 == options.steps:
            score = zero_shot(model, unseen_tokens, unseen, FONTS)
            print(
                f"step {step + 1}  {time.time() - began:.0f} s  loss {loss:.3f}  "
                f"zero-shot among {len(unseen)} unseen symbols {score:.4f}",
                flush=True,
            )
            _save(model, out)
    _write_card(model, out, options, tokenize, seen, unseen)


def _save(model: CLIP, out: Path) -> None:
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, out / "open_clip_model.safetensors")


def _write_card(
    model: CLIP, out: Path, options: argparse.Namespace, tokenize: Any, seen: Sequence[Symbol], unseen: Sequence[Symbol]
) -> None:
    """Measure the stored half-precision weights, not the ones in memory, and write the model card."""
    model.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
    every = [*seen, *unseen]
    unseen_tokens, every_tokens = tokenize([s.name for s in unseen]), tokenize([s.name for s in every])
    only_drawn = [s for s in seen if any(s.character in coverage(font) for font in HELD_OUT_FONTS)]
    drawn_tokens = tokenize([s.name for s in only_drawn])
    open_set = zero_shot_open(model, every_tokens, every, unseen)
    rows = [
        ("unseen symbols, all fonts", len(unseen), zero_shot(model, unseen_tokens, unseen, FONTS)),
        ("unseen symbols, unseen fonts", len(unseen), zero_shot(model, unseen_tokens, unseen, HELD_OUT_FONTS)),
        ("seen symbols, unseen fonts", len(only_drawn), zero_shot(model, drawn_tokens, only_drawn, HELD_OUT_FONTS)),
        ("unseen symbols among all names", len(every), open_set),
    ]
    count = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "# glyph-clip",
        "",
        f"A CLIP of {count / 1e6:.2f} M parameters for the glyph world, stored in half precision. "
        "It is `open_clip.model.CLIP`; open_clip alone loads it with `local-dir:` and this folder.",
        "",
        f"Made by `python -m mmcl_benchmarks.glyphs.pretrain_clip --steps {options.steps} --batch {options.batch} "
        f"--lr {options.lr} --width {options.width} --layers {options.layers} --embed-dim {options.embed_dim} "
        f"--seed {options.seed}{' --bf16' if options.bf16 else ''}`, torch {torch.__version__}, on a CPU.",
        "",
        f"- Trained on {len(seen)} symbols (`seen` in `symbols.json`) in {len(PRETRAINING_FONTS)} fonts.",
        f"- Never shown: {len(unseen)} symbols (`held_out` in `symbols.json`) in any font, and the fonts "
        f"{', '.join(HELD_OUT_FONTS)} for any symbol. Zero-shot claims use these only.",
        "",
        "| top-1 | candidate names | accuracy |",
        "|---|---|---|",
        *(f"| {what} | {names} | {100 * score:.1f} % |" for what, names, score in rows),
        "",
        "The drawings come from the fonts that matplotlib ships (DejaVu, STIX), the captions from the Unicode "
        "character names. Symbols that look alike (Latin A, Greek Alpha) bound what any model can reach.",
        "",
    ]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


@torch.no_grad()
def zero_shot_open(model: CLIP, tokens: Tensor, candidates: Sequence[Symbol], shown: Sequence[Symbol]) -> float:
    """Accuracy on drawings of ``shown`` when the names of all ``candidates`` compete."""
    model.eval()
    images, rows = drawings(shown, FONTS)
    position = {symbol: i for i, symbol in enumerate(candidates)}
    labels = torch.tensor([position[s] for s, of_symbol in zip(shown, rows, strict=True) for _ in of_symbol])
    texts = torch.cat([model.encode_text(chunk, normalize=True) for chunk in tokens.split(512)])
    hits = 0
    for chunk, target in zip(images.split(512), labels.split(512), strict=True):
        features = model.encode_image(normalize(chunk).contiguous(), normalize=True)
        hits += int(((features @ texts.T).argmax(1) == target).sum())
    return hits / len(labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--embed-dim", type=int, default=128)
    parser.add_argument("--evaluate-every", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    pretrain(parser.parse_args())
