"""Features of pictures, kept on the disk by what the pictures are: a data set costs a large network one pass alone."""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.sources import cache_folder
from fewshot_kit.networks.configs import PretrainedConfig

logger = logging.getLogger(__name__)

ASKED_TOGETHER = 500  # keys of one query
WAITED = 30.0  # seconds, for another process that writes


class FeatureStore:
    """What a network made of pictures before; several processes may use one. Where it cannot be read or written, it does without."""

    def __init__(self, network: PretrainedConfig, looks: Sequence[object] = ()):
        """`looks`: whatever else the features depend on, as how often a picture is looked at."""
        import transformers

        made_by = [asdict(network), *looks, transformers.__version__, torch.__version__]
        name = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:24]
        self.path, self.n_features = cache_folder() / "features" / f"{name}.sqlite", network.n_features

    def embed(self, embed_all: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return `embed_all(images)`, (n, n_features), of pictures (n, c, h, w), asking it only for those that are not kept yet."""
        keys = [hashlib.sha256(repr((image.dtype, image.shape)).encode() + image.cpu().numpy().tobytes()).digest() for image in images]
        kept = self._read(keys)
        new = {key: i for i, key in enumerate(keys) if key not in kept}
        if new:
            found = embed_all(images[list(new.values())])
            rows = dict(zip(new, found.cpu().float().numpy(), strict=True))
            self._write(rows)
            kept |= rows
        return torch.from_numpy(np.stack([kept[key] for key in keys]))

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        kept: dict[bytes, np.ndarray] = {}
        if self.path.is_file() and self.path.stat().st_size:  # a disk that was full leaves an empty one, which is written to as a new one
            try:
                with closing(self._opened()) as base:
                    for some in (keys[at : at + ASKED_TOGETHER] for at in range(0, len(keys), ASKED_TOGETHER)):
                        marks = ",".join("?" * len(some))
                        kept.update(self._rows(base.execute(f"SELECT key, value FROM features WHERE key IN ({marks})", some)))
            except (sqlite3.Error, OSError) as error:
                logger.warning("%s cannot be read (%s), so its features are computed anew; delete it", self.path, error)
        return kept

    def _rows(self, rows: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, np.ndarray]]:
        """Yield what is whole."""
        for key, value in rows:
            if isinstance(value, bytes) and len(value) == 4 * self.n_features:
                features = np.frombuffer(value, np.float32)
                if np.isfinite(features).all():
                    yield key, features

    def _write(self, rows: dict[bytes, np.ndarray]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._opened()) as base, base:
                base.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
                base.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", [(key, row.tobytes()) for key, row in rows.items()])
        except (sqlite3.Error, OSError) as error:
            why = getattr(error, "strerror", None) or error
            logger.warning("features could not be kept in %s: %s. The next measurement computes them again", self.path, why)

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(Path(self.path), timeout=WAITED)
