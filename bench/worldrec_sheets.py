"""Scenes of one clip beside each other: a withheld view, the same place from 2 m to the left, and from above.

jwm reconstruct clip -o sparse.h5 && jwm reconstruct clip --method optimize --budget 60s -o optimize.h5
python bench/worldrec_sheets.py clip -o sheet.jpg --scenes sparse=sparse.h5 optimize=optimize.h5
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def main() -> None:
    """Render through the command line, as a user would, and put the pictures on a sheet."""
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.imaging.sheet import contact_sheet

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scenes", nargs="+", required=True, metavar="NAME=PATH")
    parser.add_argument("--frame", type=int, help="a withheld one; else the middle one of those")
    parser.add_argument("--camera", help="else the first")
    parser.add_argument("--left", type=float, default=2.0, help="metres")
    arguments = parser.parse_args()
    clip = read_clip(arguments.clip)
    camera = arguments.camera or next(iter(clip.cameras))
    withheld = [frame for frame, name in clip.images(withheld=True) if name == camera]
    frame = withheld[len(withheld) // 2] if arguments.frame is None else arguments.frame
    seconds = (clip.frames[frame].images[camera].time_us - clip.frames[0].time_us) * 1e-6
    truth = clip.load_image(frame, camera)
    blank = np.full_like(truth, 18)
    pictures, labels = [truth, blank, blank], [f"recorded, {seconds:.2f} s", "", ""]
    with tempfile.TemporaryDirectory() as folder:
        for item in arguments.scenes:
            name, _, path = item.partition("=")
            views = {"": [], f", {arguments.left:g} m to the left": ["--offset", f"y={arguments.left:g}"]}
            for label, flags in (*views.items(), (", from above", ["--bev"])):
                file = Path(folder) / f"{len(pictures)}.png"
                still = [] if flags == ["--bev"] else ["--camera", camera]
                command = ["jwm", "render", path, "-o", str(file), "--time", f"{seconds:.6f}", *still, *flags]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                picture = Image.open(file).convert("RGB")
                pictures.append(np.asarray(ImageOps.fit(picture, truth.shape[1::-1])))
                score = "" if label else f", {psnr(pictures[-1], truth):.2f} dB"
                labels.append(name + label + score)
    Image.fromarray(contact_sheet(pictures, labels, columns=3)).save(arguments.output, quality=88)
    print(arguments.output)


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Of one picture, dB."""
    return float(-10.0 * np.log10(np.square((picture.astype(float) - truth) / 255.0).mean()))


if __name__ == "__main__":
    main()
