"""What a person waits for after pressing "Sample classes" in the panel of detection: until the picture with the boxes is sent to the page.

    python benchmarks/finding.py repmet_detector-fod_a fod_a

5 classes, 1 marked picture each and 10 query pictures; every press draws others, so that all 15 are looked at anew. Prints the median and
the worst wait of 15 presses in milliseconds. At most 1,000 is the aim, on an idle machine; the browser's own share comes on top.
"""

import argparse
import statistics
import time

from fewshot_kit.demo.detection import DetectionSession
from fewshot_kit.widgets import DetectionPanel

PRESSES = 15


def waits(panel: DetectionPanel) -> list[float]:
    """Return the milliseconds of each press."""
    shown, found = [], []
    panel.found_image.observe(lambda change: shown.append(time.perf_counter()), "value")
    for seed in range(1000, 1000 + PRESSES + 1):
        shown.clear()
        started = time.perf_counter()
        panel.ask(seed=seed, class_ids=None)
        panel.worker.wait(60)
        found.append(1000 * (shown[0] - started))
    return found[1:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("dataset")
    given = parser.parse_args()
    found = waits(DetectionPanel(DetectionSession(given.checkpoint, given.dataset, n_way=5, n_shot=1, n_query=2)))
    print(f"{given.checkpoint}: press to boxes, {len(found)} presses: median {statistics.median(found):.0f} ms, worst {max(found):.0f} ms")
