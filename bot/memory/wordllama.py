"""Embeddings of wordllama, computed from the files in its wheel.

The package itself keeps the weights in twice their size, imports much that is not used here, and pads all
texts of a batch to the longest one. Together that took 150 MiB of memory after a few batches.
"""

import json
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

_TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
_WEIGHTS = "wordllama/weights/l2_supercat_256.safetensors"


class WordLlama:
    """Model with 256 dimensions.

    Raises `ImportError`, `OSError` or `ValueError` if the wheel is missing, incomplete or another one.
    """

    def __init__(self) -> None:
        wheel = distribution("wordllama")
        self._tokenizer = Tokenizer.from_buffer(Path(str(wheel.locate_file(_TOKENIZER))).read_bytes())
        self._weights = _map_weights(Path(str(wheel.locate_file(_WEIGHTS))))

    def embed(self, text: str) -> list[float]:
        """Return the sum of the tokens' vectors, which has the direction of their mean."""
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        total: list[float] = self._weights[tokens].sum(axis=0, dtype=np.float32).tolist()
        return total


def _map_weights(path: Path) -> NDArray[np.float16]:
    """Map a file into memory, where only the pages in use count (https://github.com/huggingface/safetensors)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        tensor = json.loads(file.read(size)).get("embedding.weight")
    if not tensor or tensor["dtype"] != "F16":
        raise ValueError(f"{path} does not hold the known weights")
    begin, shape = 8 + size + tensor["data_offsets"][0], tuple(tensor["shape"])
    return np.asarray(np.memmap(path, "<f2", "r", begin, shape))
