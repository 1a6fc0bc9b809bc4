"""Three invented letters, drawn as with the mouse: how many of their slanted, scaled and moved variants are told right.

    python benchmarks/letters.py

Three drawings of each letter are learned by what the panel proposes for drawings; 40 others of each are asked about. Slant, size, place
and a shake of the hand are drawn by a seed, as strokes of the panel's pen on its canvas.
"""

import argparse
import io

import numpy as np
from PIL import Image, ImageDraw

from fewshot_kit.demo.own_classes import GivenPicture, OwnClasses
from fewshot_kit.demo.own_task import PROPOSED, OwnTask

SIDE, PEN = 196, 7  # of the canvas, in pixels
LETTERS = {  # strokes in a square of side 1
    "zog": [[(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]],
    "pim": [[(0.5, 0.15), (0.5, 0.85)], [(0.2, 0.4), (0.8, 0.4)], [(0.3, 0.85), (0.7, 0.85)]],
    "ulo": [[(0.25, 0.2), (0.25, 0.7), (0.5, 0.85), (0.75, 0.7), (0.75, 0.2)], [(0.45, 0.45), (0.55, 0.45)]],
}
LEARNED, ASKED = 3, 40  # drawings of each


def drawing(strokes: list, chance: np.random.Generator) -> bytes:
    """Draw a variant of a letter, as a PNG."""
    slant, scale, aspect = chance.uniform(-0.25, 0.25), chance.uniform(0.55, 1), chance.uniform(0.85, 1.15)
    place = chance.uniform(-0.08, 0.08, 2)
    picture = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = np.array(stroke) - 0.5
        points[:, 0] = aspect * (points[:, 0] - slant * points[:, 1])
        points = SIDE * (0.5 + place + scale * points + chance.normal(0, 0.015, points.shape))
        pen.line([tuple(point) for point in points], fill=0, width=PEN, joint="curve")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def main(seed: int) -> None:
    chance, classes = np.random.default_rng(seed), OwnClasses()
    for number, (name, strokes) in enumerate(LETTERS.items()):
        classes = classes.with_class(name)
        for i in range(LEARNED):
            classes = classes.with_picture(number, GivenPicture(f"{name} {i}.png", drawing(strokes, chance)))
    learning = OwnTask(PROPOSED[False]).learn(classes)
    right = 0
    for number, (name, strokes) in enumerate(LETTERS.items()):
        asked = [GivenPicture(f"{name}.png", drawing(strokes, chance)).pixels() for _ in range(ASKED)]
        right += int((learning.answer(learning.seen(asked)).probabilities.argmax(1) == number).sum())
    print(f"{right} of {ASKED * len(LETTERS)} right, learned from {LEARNED} drawings each by {PROPOSED[False]}, seed {seed}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args().seed)
