"""How much memory the kernel of the panel for own classes takes, and how long a person waits for its answers.

    python benchmarks/panel_memory.py

Starts a Jupyter kernel, opens the panel in it, gives it 5 classes of 5 photographs of 12 megapixels, asks about one, and prints the most
memory that the kernel held, in MB; and the seconds from a photograph that was added until the new answer is in the panel.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from jupyter_client.manager import start_new_kernel
from PIL import Image

IN_THE_KERNEL = """
import resource, time
from pathlib import Path
import numpy as np
from fewshot_kit.data.images import read_image
from fewshot_kit.widgets import OwnClassesPanel
panel = OwnClassesPanel()
for _ in range(2):
    panel.change(lambda classes: classes.with_class())
files = sorted(Path({folder!r}).glob("*.jpg"))
def give(file, number):
    panel.choose(number)
    panel.receive(file.name, file.read_bytes())
for i, file in enumerate(files[:24]):
    give(file, i % 5)
panel.worker.wait(300)
panel.ask(read_image(files[-1]))
started = time.perf_counter()
give(files[24], 4)
panel.worker.wait(300)
waited = time.perf_counter() - started
print(panel.status.value)
print(f"the most memory of the kernel: {{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}} MB")
print(f"from a photograph added to answers and estimate anew: {{waited:.2f}} s")
"""


def main() -> int:
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(26):
            pixels = (chance.random((30, 40, 3)) * 255).astype(np.uint8)
            Image.fromarray(pixels).resize((4000, 3000)).save(Path(folder, f"{i:02d}.jpg"), quality=90)
        manager, client = start_new_kernel()
        try:
            reply = client.execute_interactive(IN_THE_KERNEL.format(folder=folder), timeout=600)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return 0 if reply["content"]["status"] == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
