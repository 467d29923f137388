"""The image autoencoder on pictures that it was not trained on: fidelity, with and without a prior, and speed.

    python bench/autoencoder.py --model runs/autoencoder --data worlds=worlds/ kitti=clip/:206-267 \\
        --worldrec models/worldrec-mini --json bench/results/autoencoder.json

Each `--data` is a clip or a folder of clips, all of its pictures or frames FIRST to LAST, `--each` of a clip, evenly.
Figures are means over pictures, at the pictures' own size.

  psnr, ssim     the picture after encoding and decoding
  psnr_linear    after the best linear code of as many numbers a token, fitted to the very pictures it is scored on
  prior          of frames 8 to 15 of each clip, from the scene that WorldRec makes of frames 0 to 7 of one camera:
                 `psnr` decoded without it, `psnr_prior` decoded with it, `psnr_of_prior` the hole-filled render itself,
                 and the three inside what it covers
  speed          frames a second at 224x128, 16 at once, the best of five
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from worldgen_figures import COVERED, frame_psnrs, mean, record
from worldgen_priors import prior_of_seen, seen_of_clip, true_frames

SIZE, FRAMES, REPEATS = (224, 128), 16, 5
CONTEXT, LATER = 8, range(8, 16)


def main() -> None:
    """Measure, print and write."""
    from jwmtool.artifacts.weights import weights_sha256
    from jwmtool.device import num_threads
    from jwmtool.worldgen.autoencoder_checkpoint import load_autoencoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", nargs="*", default=[], metavar="NAME=PATH[:FIRST-LAST]")
    parser.add_argument("--each", type=int, default=12, help="pictures of a clip")
    parser.add_argument("--worldrec", type=Path, help="weights of WorldRec, for priors")
    parser.add_argument("--priors", type=int, default=6, help="clips of each kind of data that priors are made for")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(num_threads())
    model = load_autoencoder(arguments.model)
    name = arguments.model.stem
    result: dict[str, Any] = {"threads": num_threads(), "torch": torch.__version__, "config": model.config.to_dict()}
    result["weights_sha256"] = weights_sha256(arguments.model)
    began = time.monotonic()
    result["speed"] = speed(model)
    print("speed", result["speed"], flush=True)
    result["data"] = {}
    with torch.no_grad():
        for item in arguments.data:
            label, clips = data_of(item)
            found = fidelity(model, clips, arguments.each)
            if arguments.worldrec and model.takes_prior:
                found["prior"] = with_priors(model, clips[: arguments.priors], arguments.worldrec)
            result["data"][label] = found
            print(label, found, flush=True)
    if arguments.json:
        record(arguments.json, name, result, time.monotonic() - began)


def data_of(item: str) -> tuple[str, list[tuple[Path, range | None]]]:
    """NAME=PATH[:FIRST-LAST] as a name, clips and which of their frames."""
    from worldrec import clips_in

    match = re.fullmatch(r"(\w+)=(.+?)(?::(\d+)-(\d+))?", item)
    if match is None:
        raise SystemExit(f"--data: expected NAME=PATH or NAME=PATH:FIRST-LAST, found {item!r}")
    frames = None if match[3] is None else range(int(match[3]), int(match[4]) + 1)
    return match[1], [(path, frames) for path in clips_in(Path(match[2]))]


def fidelity(model: Any, clips: list[tuple[Path, range | None]], each: int) -> dict[str, Any]:
    """PSNR and SSIM of pictures after encoding and decoding."""
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.imaging.similarity import ssim

    psnrs: list[float] = []
    ssims: list[float] = []
    pictures: list[torch.Tensor] = []
    for path, frames in clips:
        clip = read_clip(path)
        keys = [key for key in clip.images() if frames is None or key[0] in frames]
        for k in range(min(each, len(keys))):
            frame, camera = keys[int((k + 0.5) * len(keys) / min(each, len(keys)))]
            true = true_frames(clip, camera, [frame])
            made = model.decode(model.encode(true[None]))[0]
            psnrs += frame_psnrs(made, true)
            pictures.append(true[0])
            ssims.append(float(ssim(made[0].permute(1, 2, 0), true[0].permute(1, 2, 0))))
    height, width = true.shape[2:]
    return {
        "psnr": mean(psnrs), "psnr_lowest": round(min(psnrs), 2),
        "psnr_linear": linear_code(pictures, model.stride, model.channels),
        "ssim": round(float(np.mean(ssims)), 4),
        "pictures": len(psnrs), "clips": len(clips), "size": f"{width}x{height}",
    }  # fmt: skip


def linear_code(pictures: list[torch.Tensor], stride: int, channels: int) -> float:
    """PSNR of pictures [3, H, W] after their own principal components, so many of each square of so many px."""
    tokens = [torch.nn.functional.pixel_unshuffle(picture, stride) for picture in pictures]
    flat = torch.cat([token.flatten(1).T for token in tokens])
    middle = flat.mean(0)
    centered = (flat - middle).double()
    axes = torch.linalg.eigh(centered.T @ centered)[1][:, -channels:].float()
    psnrs = []
    for token, picture in zip(tokens, pictures, strict=True):
        coded = middle + (token.flatten(1).T - middle) @ axes @ axes.T
        psnrs += frame_psnrs(
            torch.nn.functional.pixel_shuffle(coded.T.reshape(token.shape), stride)[None], picture[None]
        )
    return mean(psnrs)


def with_priors(model: Any, clips: list[tuple[Path, range | None]], worldrec: Path) -> dict[str, Any]:
    """Decoding with priors of WorldRec and without, and the priors themselves."""
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.worldrec.checkpoint import load_model

    lifting = load_model(worldrec)
    found: dict[str, list[float]] = {}
    for path, frames in clips:
        clip = read_clip(path)
        first = 0 if frames is None else frames.start
        last = min(len(clip.frames), first + LATER.stop)
        later = range(first + LATER.start, last)
        camera = sorted(clip.cameras)[0] if "front" not in clip.cameras else "front"
        prior = prior_of_seen(seen_of_clip(clip, lifting, range(first, first + CONTEXT), later, [camera]))
        true = true_frames(clip, camera, later)
        latents = model.encode(true[None])
        inside = prior.coverage[0] > COVERED
        made = {
            "psnr": model.decode(latents)[0], "psnr_prior": model.decode(latents, prior)[0],
            "psnr_of_prior": prior.color[0],
        }  # fmt: skip
        for name, picture in made.items():
            found.setdefault(name, []).extend(frame_psnrs(picture, true))
            found.setdefault(f"{name}_inside", []).extend(frame_psnrs(picture, true, inside))
        found.setdefault("coverage", []).append(float(inside.double().mean()))
    return {**{name: mean(values) for name, values in found.items()}, "pictures": len(found["psnr"])}


def speed(model: Any) -> dict[str, float]:
    """Frames a second, encoding and decoding."""
    video = torch.rand(1, FRAMES, 3, SIZE[1], SIZE[0])
    with torch.no_grad():
        latents = model.encode(video)
        seconds: dict[str, list[float]] = {"encode": [], "decode": []}
        for _ in range(REPEATS + 1):
            for name, run in (("encode", lambda: model.encode(video)), ("decode", lambda: model.decode(latents))):
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
    return {f"{name}_fps": round(FRAMES / min(spent[1:]), 1) for name, spent in seconds.items()}


if __name__ == "__main__":
    main()
